package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
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
	dir string
	log *slog.Logger
}

func (j journal) path(containerID, ifName string) string {
	return filepath.Join(j.dir, containerID+":"+ifName+".json")
}

// put returns only when the entry survives a power cut: after one, the IP address that ADD takes cannot be seen again.
func (j journal) put(a Attachment) error {
	b, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("cannot encode the attachment: %w", err)
	}
	err = os.MkdirAll(j.dir, 0o700)
	if err == nil {
		err = atomicfile.Write(j.path(a.ContainerID, a.IfName), b, 0o600, atomicfile.Name)
	}
	if err != nil {
		return fmt.Errorf("cannot journal the attachment, so it is not made (is the disk full?): %w", err)
	}
	return nil
}

func (j journal) remove(a Attachment) error {
	err := os.Remove(j.path(a.ContainerID, a.IfName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot forget a released attachment: %w", err)
	}
	return nil
}

// list returns the attachments of one container, or all for "", in the order of their file names. A file that cannot be
// read as one is set aside, so that it is reported once and hides nothing else.
func (j journal) list(containerID string) ([]Attachment, error) {
	entries, err := os.ReadDir(j.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the network journal: %w", err)
	}
	var all []Attachment
	var errs []error
	for _, e := range entries {
		id, rest, ok := strings.Cut(e.Name(), ":")
		ifName, isEntry := strings.CutSuffix(rest, ".json")
		if !ok || !isEntry || strings.HasPrefix(id, ".") || containerID != "" && id != containerID {
			continue
		}
		a, err := j.read(id, ifName)
		switch {
		case errors.Is(err, fs.ErrNotExist): // released meanwhile
		case err != nil:
			errs = append(errs, err)
		case a != nil:
			all = append(all, *a)
		}
	}
	return all, errors.Join(errs...)
}

// read returns nil for a garbled entry.
func (j journal) read(id, ifName string) (*Attachment, error) {
	path := j.path(id, ifName)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read a journalled attachment: %w", err)
	}
	var a Attachment
	err = json.Unmarshal(b, &a)
	switch {
	case err != nil:
	case a.ContainerID != id || a.IfName != ifName:
		err = fmt.Errorf("it names container %q, interface %q", a.ContainerID, a.IfName)
	default:
		if _, err = libcni.NetworkConfFromBytes(a.Config); err == nil {
			return &a, nil
		}
	}
	j.log.Error("a network journal file is garbled and was set aside; the pod's teardown uses the node's current network",
		"file", path, "renamed", path+".bad", "err", err)
	if err := os.Rename(path, path+".bad"); err != nil {
		return nil, fmt.Errorf("cannot set a garbled journal file aside: %w", err)
	}
	return nil, nil
}
