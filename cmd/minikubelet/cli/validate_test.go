package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValidate_PrintsEachProblemWithItsPlace(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	text := "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: c\n    image: busybox\n"
	for path, text := range map[string]string{good: text, bad: strings.ReplaceAll(text, "image:", "imagee:")} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args      []string
		out, fail string
	}{
		{[]string{good}, "good.yaml: ok, 1 object\n", ""},
		{[]string{"-"}, "-: ok, 1 object\n", ""},
		{[]string{dir}, "bad.yaml: document 1: line 7: spec.containers[0].imagee: unknown field: did you mean \"image\"?\ngood.yaml: ok, 1 object\n", "1 problem"},
		{[]string{good, bad}, "good.yaml: ok, 1 object\nbad.yaml: document 1: line 7: spec.containers[0].imagee: unknown field: did you mean \"image\"?\n", "1 problem"},
		{[]string{filepath.Join(dir, "none")}, "none: cannot read it: no such file or directory\n", "1 problem"},
		{nil, "", "usage: validate: give the files to check, or - for the standard input: see minikubelet validate --help"},
	} {
		cmd := newValidateCommand()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		var out strings.Builder
		cmd.SetIn(strings.NewReader(text))
		cmd.SetOut(&out)
		cmd.SetArgs(append([]string{"--offline"}, c.args...))
		err := cmd.Execute()
		fail := ""
		if err != nil {
			fail = err.Error()
		}
		if d := cmp.Diff([]string{c.out, c.fail}, []string{strings.ReplaceAll(out.String(), dir+"/", ""), fail}); d != "" {
			t.Errorf("%q: %s", c.args, d)
		}
	}
}
