package cni

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/book"
)

// Attachment is one interface of one sandbox on one network, as the journal has it.
type Attachment struct {
	ContainerID   string                     `json:"containerID"` // the sandbox
	NetNS         string                     `json:"netns"`
	IfName        string                     `json:"ifname"`
	Parent        string                     `json:"parent"` // the interface of the runtime's request that it was made for
	Order         int                        `json:"order"`  // position among the attachments of that request; DEL runs backwards
	Network       string                     `json:"network"`
	Config        json.RawMessage            `json:"config"` // the network's configuration list as it was used
	RuntimeConfig map[string]json.RawMessage `json:"runtimeConfig,omitempty"`
	Args          [][2]string                `json:"args,omitempty"`
	Pod           PodRef                     `json:"pod"`
	Created       time.Time                  `json:"created"`
}

// PodRef names the pod of an attachment, from the K8S_POD_ keys of CNI_ARGS. Empty for a runtime that sends none.
type PodRef struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

func podRef(args [][2]string) PodRef {
	var p PodRef
	for _, kv := range args {
		switch kv[0] {
		case "K8S_POD_NAMESPACE":
			p.Namespace = kv[1]
		case "K8S_POD_NAME":
			p.Name = kv[1]
		case "K8S_POD_UID":
			p.UID = kv[1]
		}
	}
	return p
}

// runtimeConf is the attachment in the form that libcni wants.
func (a Attachment) runtimeConf() *libcni.RuntimeConf {
	caps := make(map[string]any, len(a.RuntimeConfig))
	for k, v := range a.RuntimeConfig {
		caps[k] = v
	}
	return &libcni.RuntimeConf{ContainerID: a.ContainerID, NetNS: a.NetNS, IfName: a.IfName, Args: a.Args, CapabilityArgs: caps}
}

// journal is a directory with one file per attachment, named <container>:<interface>.json; neither part has a colon.
type journal struct {
	book book.Book[Attachment]
	log  *slog.Logger
}

func newJournal(dir string, log *slog.Logger) journal {
	return journal{book.Book[Attachment]{Dir: dir, Mode: 0o700, Sync: atomicfile.Name, Check: checkEntry}, log}
}

func (a Attachment) fileName() string { return a.ContainerID + ":" + a.IfName + ".json" }

func checkEntry(name string, a Attachment) error {
	if a.fileName() != name {
		return fmt.Errorf("it names container %q, interface %q", a.ContainerID, a.IfName)
	}
	_, err := libcni.NetworkConfFromBytes(a.Config)
	return err
}

// put returns only when the entry survives a power cut: after one, the IP address that ADD takes cannot be seen again.
func (j journal) put(a Attachment) error {
	if err := j.book.Put(a.fileName(), a); err != nil {
		return fmt.Errorf("cannot journal the attachment, so it is not made (is the disk full?): %w", err)
	}
	return nil
}

func (j journal) remove(a Attachment) error {
	if err := j.book.Delete(a.fileName()); err != nil {
		return fmt.Errorf("cannot forget a released attachment: %w", err)
	}
	return nil
}

// list returns the attachments of one container, or all for "", in the order of their file names. A garbled file is set
// aside, so that it is reported once and hides nothing else.
func (j journal) list(containerID string) ([]Attachment, error) {
	names, err := j.book.Names(cmp.Or(containerID, "*") + ":*.json")
	if err != nil {
		return nil, fmt.Errorf("cannot read the network journal: %w", err)
	}
	var all []Attachment
	var errs []error
	for _, name := range names {
		a, err := j.book.Take(name)
		switch {
		case err == nil:
			all = append(all, a)
		case errors.Is(err, book.ErrGarbled):
			j.log.Error("cannot read a network journal file: the pod's teardown uses the node's current network", "err", err)
		case !errors.Is(err, fs.ErrNotExist): // else it was released meanwhile
			errs = append(errs, fmt.Errorf("cannot read a journalled attachment: %w", err))
		}
	}
	return all, errors.Join(errs...)
}
