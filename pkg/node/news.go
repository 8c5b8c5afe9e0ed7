package node

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
)

// News is an event of the Node: what its status says newly.
type News struct{ Type, Reason, Message string }

// names of the events of the conditions, for True and False.
var conditionEvents = map[v1.NodeConditionType][2]string{
	v1.NodeMemoryPressure: {"NodeHasInsufficientMemory", "NodeHasSufficientMemory"},
	v1.NodeDiskPressure:   {"NodeHasDiskPressure", "NodeHasNoDiskPressure"},
	v1.NodePIDPressure:    {"NodeHasInsufficientPID", "NodeHasSufficientPID"},
	v1.NodeReady:          {"NodeReady", "NodeNotReady"},
}

// news compares a status with the one before. A Node that is new has all its pressures told, and that it is ready; one that is not
// ready yet is nothing new.
func news(name string, old, now v1.NodeStatus) (out []News) {
	if boot := now.NodeInfo.BootID; old.NodeInfo.BootID != "" && old.NodeInfo.BootID != boot {
		out = append(out, News{v1.EventTypeWarning, "Rebooted", fmt.Sprintf("Node %s has been rebooted, boot id: %s", name, boot)})
	}
	before := map[v1.NodeConditionType]v1.ConditionStatus{}
	for _, c := range old.Conditions {
		before[c.Type] = c.Status
	}
	for _, c := range now.Conditions {
		events, ours := conditionEvents[c.Type]
		was, known := before[c.Type]
		if !ours || was == c.Status || !known && c.Type == v1.NodeReady && c.Status != v1.ConditionTrue {
			continue
		}
		reason := events[1]
		if c.Status == v1.ConditionTrue {
			reason = events[0]
		}
		out = append(out, News{v1.EventTypeNormal, reason, fmt.Sprintf("Node %s status is now: %s", name, reason)})
	}
	return out
}
