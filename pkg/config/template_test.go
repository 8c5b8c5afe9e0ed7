package config

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minikubelet/minikubelet/deploy"
)

// ofTemplate loads a configuration and returns what is in force, by path.
func ofTemplate(t *testing.T, text string) map[string]string {
	t.Helper()
	flags := NewFlags()
	if err := flags.Parse([]string{"--config=/config.yaml"}); err != nil {
		t.Fatal(err)
	}
	l, err := Load(flags, Files{Read: func(string) ([]byte, error) { return []byte(text), nil }})
	if err != nil {
		t.Fatalf("the configuration is refused: %v\n%s", err, text)
	}
	entries, err := l.entries()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, e := range entries {
		values[e.Path] = e.Value
	}
	return values
}

// TestTemplate_HasEveryFieldWithItsDefault holds the configuration that is installed to what the agent does without it.
func TestTemplate_HasEveryFieldWithItsDefault(t *testing.T) {
	bare := ofTemplate(t, "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nstaticPodPath: /etc/kubernetes/manifests\n")
	if d := cmp.Diff(bare, ofTemplate(t, deploy.Config)); d != "" {
		t.Errorf("as it is, the template changes something (-without it +with it):\n%s", d)
	}
	all := regexp.MustCompile(`(?m)^#( {2,}|[^ #\n])`).ReplaceAllString(deploy.Config, "$1")
	got := ofTemplate(t, all)
	for path, value := range got {
		if empty := slices.Contains([]string{`""`, "{}", "[]", "null", `"0s"`, "0", "false"}, value); empty && bare[path] == "" {
			delete(got, path)
		}
	}
	if d := cmp.Diff(bare, got); d != "" {
		t.Errorf("a field has another default (-the agent's +the template's):\n%s", d)
	}
	for path, only := range supported() {
		leaf := path[strings.LastIndexByte(path, '.')+1:]
		if only == nil && !slices.Contains(withoutEffect(), path) && !regexp.MustCompile(`(?m)^#? *`+leaf+`:`).MatchString(deploy.Config) {
			t.Errorf("the template does not have %s", path)
		}
	}
}

// withoutEffect are fields that are taken and that change nothing here.
func withoutEffect() []string {
	return []string{
		"logging.flushFrequency", "logging.options.json.infoBufferSize", "logging.options.text.infoBufferSize",
		"cpuManagerReconcilePeriod", "syncFrequency", "volumeStatsAggPeriod",
	}
}
