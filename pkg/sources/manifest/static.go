package manifest

import (
	"cmp"
	"crypto/md5" //nolint:gosec // an identity, as the kubelet forms it, not a secret
	"encoding/hex"
	"encoding/json"
	"io"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// contentHash identifies what the author of a static pod wrote, on this node. It is formed before defaults are applied
// and without what is empty, so that a new release of the agent or of its libraries does not restart pods; and without
// the file's name, which the kubelet's hash has, so that renaming a file does not either.
func contentHash(p *v1.Pod, from Origin) string {
	plain := *p
	plain.Status = v1.PodStatus{}
	h := md5.New() //nolint:gosec // see the import
	io.WriteString(h, string(from.Source)+"\x00"+from.Node+"\x00")
	var tree any
	data, err := json.Marshal(&plain)
	if err == nil {
		err = json.Unmarshal(data, &tree)
	}
	if err == nil {
		err = json.NewEncoder(h).Encode(prune(tree)) // keys of maps are sorted
	}
	if err != nil {
		io.WriteString(h, err.Error()) // a decoded pod always encodes
	}
	return hex.EncodeToString(h.Sum(nil))
}

func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			inner = prune(inner)
			if m, ok := inner.(map[string]any); inner == nil || ok && len(m) == 0 {
				delete(v, k)
			}
		}
	case []any:
		for i := range v {
			v[i] = prune(v[i])
		}
	}
	return v
}

// identify makes a pod of a file or URL the static pod of this node: the name has the node's as its suffix, the UID is
// the hash of the content unless the author gave one, and nothing but the agent itself can drive it away.
func identify(p *v1.Pod, from Origin, hash string) {
	p.Name += "-" + strings.ToLower(from.Node)
	p.UID = cmp.Or(p.UID, types.UID(hash))
	p.Spec.NodeName = from.Node
	p.Status = v1.PodStatus{Phase: v1.PodPending}
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	p.Annotations[pod.AnnotationHash] = hash
	p.Annotations[pod.AnnotationSource] = string(from.Source)
	delete(p.Annotations, pod.AnnotationMirror)
	any := v1.Toleration{Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute}
	for _, t := range p.Spec.Tolerations {
		if t == any {
			return
		}
	}
	p.Spec.Tolerations = append(p.Spec.Tolerations, any)
}
