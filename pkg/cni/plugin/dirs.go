package plugin

import (
	"cmp"
	"encoding/json"
	"slices"
)

// defaultConfDir is where runtimes look for networks unless they are told otherwise.
const defaultConfDir = "/etc/cni/net.d"

// defaultBinDirs are where upstream, Debian and Fedora install network plugins.
var defaultBinDirs = []string{"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"}

// Dirs finds a runtime's CNI directories in the info of its verbose CRI status, where containerd tells its configuration;
// for one that does not tell, they are the defaults. Set values (network.confDir, network.binDir) win. The first of binDirs
// is the runtime's own, where the agent's plugin goes; the other usual places follow, as network plugins may be there.
func Dirs(info map[string]string, setConfDir, setBinDir string) (confDir string, binDirs []string) {
	var config struct {
		CNI struct {
			ConfDir string   `json:"confDir"`
			BinDir  string   `json:"binDir"`  // containerd 1
			BinDirs []string `json:"binDirs"` // containerd 2
		} `json:"cni"`
	}
	_ = json.Unmarshal([]byte(info["config"]), &config) // what it does not say stays empty
	told := append([]string{setBinDir}, append(config.CNI.BinDirs, config.CNI.BinDir)...)
	for _, d := range append(told, defaultBinDirs...) {
		if d != "" && !slices.Contains(binDirs, d) {
			binDirs = append(binDirs, d)
		}
	}
	return cmp.Or(setConfDir, config.CNI.ConfDir, defaultConfDir), binDirs
}
