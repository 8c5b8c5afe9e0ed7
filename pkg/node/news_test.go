package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

func TestNews_TellsWhatChanged(t *testing.T) {
	status := func(boot string, ready, memory v1.ConditionStatus) v1.NodeStatus {
		return v1.NodeStatus{NodeInfo: v1.NodeSystemInfo{BootID: boot}, Conditions: []v1.NodeCondition{
			{Type: "Other", Status: ready}, {Type: v1.NodeMemoryPressure, Status: memory}, {Type: v1.NodeReady, Status: ready},
		}}
	}
	normal := func(reason string) News {
		return News{"Normal", reason, "Node n status is now: " + reason}
	}
	for name, tt := range map[string]struct {
		old, now v1.NodeStatus
		want     []News
	}{
		"nothing":         {status("1", "True", "False"), status("1", "True", "False"), nil},
		"a new Node":      {v1.NodeStatus{}, status("1", "False", "False"), []News{normal("NodeHasSufficientMemory")}},
		"new and ready":   {v1.NodeStatus{}, status("1", "True", "False"), []News{normal("NodeHasSufficientMemory"), normal("NodeReady")}},
		"ready":           {status("1", "False", "False"), status("1", "True", "False"), []News{normal("NodeReady")}},
		"lost its agent":  {status("1", "Unknown", "Unknown"), status("1", "True", "False"), []News{normal("NodeHasSufficientMemory"), normal("NodeReady")}},
		"not ready":       {status("1", "True", "False"), status("1", "False", "True"), []News{normal("NodeHasInsufficientMemory"), normal("NodeNotReady")}},
		"after a reboot":  {status("1", "True", "False"), status("2", "True", "False"), []News{{"Warning", "Rebooted", "Node n has been rebooted, boot id: 2"}}},
		"the first start": {status("", "True", "False"), status("2", "True", "False"), nil},
	} {
		if d := cmp.Diff(tt.want, news("n", tt.old, tt.now)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
