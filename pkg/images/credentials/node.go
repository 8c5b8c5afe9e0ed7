package credentials

import (
	"context"
	"errors"

	v1 "k8s.io/api/core/v1"
)

// Node has the logins that are the node's own, not a pod's secrets.
type Node struct {
	File    string   // a Docker configuration; it need not be there
	Plugins *Plugins // or nil
}

// Logins are those for an image, and its errors those of both places: what one gives holds when the other fails.
func (n Node) Logins(ctx context.Context, p *v1.Pod, ref string) ([]Login, error) {
	own, err := fromFile(ref, n.File)
	if n.Plugins == nil {
		return own, err
	}
	more, pluginErr := n.Plugins.logins(ctx, p, ref)
	return append(own, more...), errors.Join(err, pluginErr)
}
