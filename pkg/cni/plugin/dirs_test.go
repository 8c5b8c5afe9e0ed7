package plugin

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDirs_FollowsTheRuntimeUnlessSet(t *testing.T) {
	for name, tc := range map[string]struct {
		config, setConf, setBin string
		conf                    string
		bins                    []string
	}{
		"containerd 1":      {config: `{"cni":{"binDir":"/b","confDir":"/c"}}`, conf: "/c", bins: []string{"/b", "/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"}},
		"containerd 2":      {config: `{"cni":{"binDir":"","binDirs":["/usr/lib/cni","/b"],"confDir":"/c"}}`, conf: "/c", bins: []string{"/usr/lib/cni", "/b", "/opt/cni/bin", "/usr/libexec/cni"}},
		"a runtime is mute": {conf: "/etc/cni/net.d", bins: []string{"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"}},
		"set":               {config: `{"cni":{"binDir":"/b","confDir":"/c"}}`, setConf: "/x", setBin: "/y", conf: "/x", bins: []string{"/y", "/b", "/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"}},
	} {
		t.Run(name, func(t *testing.T) {
			conf, bins := Dirs(map[string]string{"config": tc.config}, tc.setConf, tc.setBin)
			if diff := cmp.Diff(tc.bins, bins); diff != "" || conf != tc.conf {
				t.Errorf("conf %s %s", conf, diff)
			}
		})
	}
}
