package node

import (
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Pressure says of which resource the node runs short.
type Pressure struct{ Memory, Disk, PID bool }

// Conditions are the node's conditions at a moment: the ones of others as they are, then the four of the agent with Ready
// last. A transition time is kept for as long as the status does not flip. The node is ready when notReady is empty; else
// it holds what is wrong, one sentence each.
func Conditions(old []v1.NodeCondition, p Pressure, notReady []string, now time.Time) []v1.NodeCondition {
	ours := []v1.NodeCondition{
		pressure(v1.NodeMemoryPressure, p.Memory, said{"KubeletHasSufficientMemory", "kubelet has sufficient memory available"},
			said{"KubeletHasInsufficientMemory", "kubelet has insufficient memory available"}),
		pressure(v1.NodeDiskPressure, p.Disk, said{"KubeletHasNoDiskPressure", "kubelet has no disk pressure"},
			said{"KubeletHasDiskPressure", "kubelet has disk pressure"}),
		pressure(v1.NodePIDPressure, p.PID, said{"KubeletHasSufficientPID", "kubelet has sufficient PID available"},
			said{"KubeletHasInsufficientPID", "kubelet has insufficient PID available"}),
		{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"},
	}
	if len(notReady) > 0 {
		ready := &ours[len(ours)-1]
		ready.Status, ready.Reason = v1.ConditionFalse, "KubeletNotReady"
		ready.Message = strings.Join(notReady, ", ")
	}
	before := make(map[v1.NodeConditionType]v1.NodeCondition, len(old))
	for _, c := range old {
		before[c.Type] = c
	}
	stamp := metav1.NewTime(now.Truncate(time.Second))
	for i := range ours {
		c := &ours[i]
		c.LastHeartbeatTime, c.LastTransitionTime = stamp, stamp
		if was, ok := before[c.Type]; ok && was.Status == c.Status {
			c.LastTransitionTime = was.LastTransitionTime
		}
		delete(before, c.Type)
	}
	out := make([]v1.NodeCondition, 0, len(before)+len(ours))
	for _, c := range old {
		if _, foreign := before[c.Type]; foreign {
			out = append(out, c)
		}
	}
	return append(out, ours...)
}

// said is how a condition is told.
type said struct{ reason, message string }

func pressure(t v1.NodeConditionType, on bool, good, bad said) v1.NodeCondition {
	status, s := v1.ConditionFalse, good
	if on {
		status, s = v1.ConditionTrue, bad
	}
	return v1.NodeCondition{Type: t, Status: status, Reason: s.reason, Message: s.message}
}
