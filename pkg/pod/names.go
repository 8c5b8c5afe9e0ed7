package pod

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
)

// maxFileName is how many bytes a name in a directory may have on every usual file system (NAME_MAX).
const maxFileName = 255

// LogDirName is the name of the directory of a pod's logs: namespace_name_uid. Log shippers read it.
func LogDirName(p *v1.Pod) string { return p.Namespace + "_" + p.Name + "_" + string(p.UID) }

// Unnameable tells why no directory can be made for a pod, as what its name is; "" when it can.
func Unnameable(p *v1.Pod) string {
	if n := len(LogDirName(p)); n > maxFileName {
		return fmt.Sprintf("too long: the name of its log directory, namespace_name_uid, would have %d bytes, and a file system takes %d: shorten it by %d",
			n, maxFileName, n-maxFileName)
	}
	return ""
}
