package act

import (
	"errors"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// worthTelling reports whether a failure deserves an event. One that is tried again every few seconds, because the look
// costs nothing, and says the same again, is told of the 1st, 2nd, 4th, 8th time and so on.
func worthTelling(before pod.Failure, err error) bool {
	class := ""
	if e, ok := errors.AsType[*pod.Error](err); ok {
		class = e.Class
	}
	if class != pod.NodeLacks && class != pod.CreateContainerConfigError || err.Error() != before.Text {
		return true
	}
	n := before.Count + 1
	return n&(n-1) == 0
}
