package cni

import (
	"encoding/json"

	"github.com/containernetworking/cni/pkg/types"
)

// Settings are what the plugin must know to reach the agent, and to do its work without it. They are part of the
// conflist that the runtime hands it on standard input.
type Settings struct {
	Socket  string   `json:"socket"`
	Dir     string   `json:"dir"`
	ConfDir string   `json:"confDir"`
	BinDirs []string `json:"binDirs"`
}

// conflistVersion is the newest CNI version that containerd 1.6 accepts.
const conflistVersion = "1.0.0"

// capabilities are all runtimeConfig keys that runtimes are known to fill in: a key that is not named here does not
// reach the agent, and so not the networks behind it (CNI CONVENTIONS.md; the last one is containerd's).
var capabilities = map[string]bool{
	"portMappings": true, "bandwidth": true, "ipRanges": true, "ips": true, "mac": true, "dns": true, "aliases": true,
	"infinibandGUID": true, "deviceID": true, "cgroupPath": true, "io.kubernetes.cri.pod-annotations": true,
}

// Conflist renders the file that makes the agent the runtime's network.
func (s Settings) Conflist() ([]byte, error) {
	type plugin struct {
		Type         string          `json:"type"`
		Capabilities map[string]bool `json:"capabilities"`
		Settings
	}
	list := struct {
		CNIVersion string   `json:"cniVersion"`
		Name       string   `json:"name"`
		Plugins    []plugin `json:"plugins"`
	}{conflistVersion, "minikubelet", []plugin{{PluginType, capabilities, s}}}
	b, err := json.MarshalIndent(list, "", "  ")
	return append(b, '\n'), err
}

// ParseSettings reads the plugin's own part of the configuration on its standard input.
func ParseSettings(config []byte) (Settings, error) {
	var s Settings
	if err := json.Unmarshal(config, &s); err != nil {
		return s, types.NewError(types.ErrDecodingFailure, "cannot read the network configuration on standard input", err.Error())
	}
	if s.Socket == "" || s.Dir == "" || s.ConfDir == "" || len(s.BinDirs) == 0 {
		return s, types.NewError(types.ErrInvalidNetworkConfig,
			"the configuration lacks socket, dir, confDir or binDirs: "+ConflistName+" is written by minikubelet, restart it", "")
	}
	return s, nil
}
