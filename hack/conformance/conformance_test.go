package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
)

const report = `[{"SpecReports": [
  {"LeafNodeType": "SynchronizedBeforeSuite", "State": "passed"},
  {"ContainerHierarchyTexts": ["[sig-node] Pods", "b"], "LeafNodeType": "It", "LeafNodeText": "should fail", "State": "timedout",
   "Failure": {"Message": "Timed out\nafter 60 s", "Location": {"FileName": "pods.go", "LineNumber": 7}}},
  {"ContainerHierarchyTexts": ["[sig-node] Pods"], "LeafNodeType": "It", "LeafNodeText": "should not apply", "State": "skipped", "Failure": {"Message": "needs Windows"}},
  {"ContainerHierarchyTexts": ["[sig-node] Pods"], "LeafNodeType": "It", "LeafNodeText": "is out of focus", "State": "skipped"},
  {"ContainerHierarchyTexts": ["[sig-node] Pods"], "LeafNodeType": "It", "LeafNodeText": "should pass", "State": "passed"}
]}]`

func TestReport_NamesWhatRanAndCountsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), reportFile)
	if err := os.WriteFile(path, []byte(report), 0o600); err != nil {
		t.Fatal(err)
	}
	specs, err := readReport(path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	ok := printSpecs(&out, specs)
	want := `PASS  [sig-node] Pods should pass
SKIP  [sig-node] Pods should not apply
      needs Windows
FAIL  [sig-node] Pods b should fail
      Timed out
      after 60 s
      at pods.go:7
1 of 2 specs passed, 1 failed; 1 found that they do not apply here
`
	if d := cmp.Diff(want, out.String()); d != "" || ok {
		t.Errorf("ok %v, (-want +got):\n%s", ok, d)
	}
}

func TestReport_IsNoSuccessWhenNothingRanOrTheSuiteItselfFailed(t *testing.T) {
	for name, text := range map[string]string{
		"nothing ran":        `[{"SpecReports": []}]`,
		"the suite's set-up": `[{"SpecReports": [{"LeafNodeType": "It", "State": "passed"}, {"LeafNodeType": "SynchronizedBeforeSuite", "State": "failed"}]}]`,
	} {
		path := filepath.Join(t.TempDir(), reportFile)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		specs, err := readReport(path)
		if err != nil || printSpecs(&bytes.Buffer{}, specs) {
			t.Errorf("%s: a success, or %v", name, err)
		}
	}
	for _, text := range []string{"", "[", `{"SpecReports": 1}`} {
		path := filepath.Join(t.TempDir(), reportFile)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readReport(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("report %q: %v, want an error that names the file", text, err)
		}
	}
}

func TestTree_TakesModesAndLinksAndLeavesOutWhatIsMounted(t *testing.T) {
	root := t.TempDir()
	err := errors.Join(os.MkdirAll(filepath.Join(root, "usr", "bin"), 0o755), os.MkdirAll(filepath.Join(root, "proc", "1"), 0o755),
		os.WriteFile(filepath.Join(root, "usr", "bin", "su"), []byte("su"), 0o755), os.Chmod(filepath.Join(root, "usr", "bin", "su"), fs.ModeSetuid|0o755),
		os.Symlink("usr/bin", filepath.Join(root, "bin")))
	if err != nil {
		t.Fatal(err)
	}
	got, err := tree(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []ociarchive.File{
		{Path: "/bin", Mode: fs.ModeSymlink | 0o777, Link: "usr/bin"},
		{Path: "/proc", Mode: fs.ModeDir | 0o755},
		{Path: "/usr", Mode: fs.ModeDir | 0o755},
		{Path: "/usr/bin", Mode: fs.ModeDir | 0o755},
		{Path: "/usr/bin/su", Mode: fs.ModeSetuid | 0o755, Content: []byte("su")},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
