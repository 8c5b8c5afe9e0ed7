package compare

import (
	"fmt"
	"os/exec"
	"regexp"

	"github.com/spf13/pflag"

	"github.com/minikubelet/minikubelet/pkg/config"
)

// flagLine is a flag in what a kubelet says of itself.
var flagLine = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([\w-]+)`)

// flags are those that a program takes. What the agent knows and refuses is told so.
func (v *viewer) flags() (l Lines, err error) {
	if v.kubelet != "" {
		help, err := exec.CommandContext(v.t.Context(), v.kubelet, "--help").Output()
		if err != nil {
			return nil, fmt.Errorf("cannot ask the kubelet for its flags: %w", err)
		}
		for _, flag := range flagLine.FindAllStringSubmatch(string(help), -1) {
			l.add("--"+flag[1], "taken")
		}
		return l, nil
	}
	config.NewFlags().VisitAll(func(f *pflag.Flag) {
		l.add("--"+f.Name, map[bool]string{true: "refused", false: "taken"}[f.Hidden])
	})
	return l, nil
}
