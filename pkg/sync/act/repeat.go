package act

import (
	"errors"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// worthTelling reports whether a failure deserves an event. One that is tried again every few seconds, because the look
// costs nothing, and says the same again, is told of the 1st, 2nd, 4th, 8th time and so on. That a volume is not attached
// yet is told when it has taken about two seconds.
func worthTelling(before pod.Failure, err error) bool {
	class, n := "", before.Count+1
	if e, ok := errors.AsType[*pod.Error](err); ok {
		class = e.Class
	}
	switch {
	case class == pod.NotAttached:
		return n > 5
	case class != pod.NodeLacks && class != pod.CreateContainerConfigError || err.Error() != before.Text:
		return true
	}
	return n&(n-1) == 0
}
