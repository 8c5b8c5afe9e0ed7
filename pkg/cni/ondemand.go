package cni

import (
	"encoding/json"
	"slices"

	"github.com/containernetworking/cni/libcni"
)

// onDemand are the chained plugins that only pass the result on when the runtime gives them nothing to do, by type.
// Starting one then is a process for nothing, twice a pod: more than all that the agent adds to an ADD.
var onDemand = map[string]struct {
	capability string // the runtimeConfig key that is their work
	bare       bool   // their configuration may be work too, unless it says no more than type and capabilities
}{
	"portmap":   {capability: "portMappings"},
	"bandwidth": {capability: "bandwidth", bare: true},
}

// config is the list to use for a runtimeConfig: in full, or without the plugins that have nothing to do with it. The
// journal keeps what was used, so CHECK and DEL see the same plugins as ADD.
func (n *Network) config(runtimeConfig map[string]json.RawMessage) (json.RawMessage, error) {
	list := *n.list
	list.Plugins = nil
	for i, p := range n.list.Plugins {
		if i == 0 || !idle(p, runtimeConfig) {
			list.Plugins = append(list.Plugins, p)
		}
	}
	if len(list.Plugins) == len(n.list.Plugins) {
		return n.raw, nil
	}
	return renderList(&list)
}

func idle(p *libcni.PluginConfig, runtimeConfig map[string]json.RawMessage) bool {
	d, ok := onDemand[p.Network.Type]
	if !ok || !p.Network.Capabilities[d.capability] || !slices.Contains([]string{"", "null", "[]", "{}"}, string(runtimeConfig[d.capability])) {
		return false
	}
	if !d.bare {
		return true
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(p.Bytes, &keys); err != nil {
		return false
	}
	delete(keys, "type")
	delete(keys, "capabilities")
	return len(keys) == 0
}
