package csi

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// InUse lists the attached volumes that a pod of this node has, may have or is about to have mounted, each once. The
// attach-detach controller detaches none of these (Node status.volumesInUse).
func (n *Node) InUse() ([]Ref, error) {
	files, err := n.published()
	if err != nil {
		return nil, fmt.Errorf("cannot look for volumes in use: %w", err)
	}
	var refs []Ref
	for _, f := range files {
		// One that is gone by now is not in use; a garbled one is the unmount's to tell of.
		if d, err := notes(filepath.Dir(f)).Get(dataFile); err == nil && d.AttachmentID != "" {
			refs = append(refs, d.ref())
		}
	}
	slices.SortFunc(refs, func(a, b Ref) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(refs), nil
}

// used tells that an attached volume came into use or went out of it.
func (n *Node) used(attachment string) {
	if attachment != "" && n.cfg.Used != nil {
		n.cfg.Used()
	}
}
