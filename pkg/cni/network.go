package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/utils"
)

// ConflistName is the file by which the agent is the first, and so the chosen, network of the runtime.
const ConflistName = "00-minikubelet.conflist"

// PluginType is the name of the agent's own plugin binary and of its type in the conflist.
const PluginType = "minikubelet-cni"

// OwnNetworkFile, in the agent's own directory, is the network of a node that has none: package plugin puts it there.
const OwnNetworkFile = "network.conflist"

// Network is a network configuration list that can be attached.
type Network struct {
	Name string
	File string // where it was read from
	list *libcni.NetworkConfigList
	raw  json.RawMessage // the list in full, as the journal keeps it
}

// errNoNetwork says that nothing in the configuration directory can be used as a network.
var errNoNetwork = errors.New("no CNI network is configured")

// LoadNetwork reads one .conflist, .conf or .json file. A list may keep its plugins in files of their own, in a
// directory beside it (CNI SPEC 1.1, section 1).
func LoadNetwork(path string) (*Network, error) {
	list, err := loadList(path)
	if err != nil {
		return nil, fmt.Errorf("cannot use the CNI network file %s: %w", path, err)
	}
	if err := utils.ValidateNetworkName(list.Name); err != nil {
		return nil, fmt.Errorf("cannot use the CNI network file %s: %w", path, err)
	}
	raw, err := renderList(list)
	if err != nil {
		return nil, fmt.Errorf("cannot use the CNI network file %s: %w", path, err)
	}
	return &Network{Name: list.Name, File: path, list: list, raw: raw}, nil
}

func loadList(path string) (*libcni.NetworkConfigList, error) {
	if filepath.Ext(path) == ".conflist" {
		return libcni.NetworkConfFromFile(path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	one, err := libcni.NetworkPluginConfFromBytes(b)
	if err != nil {
		return nil, err
	}
	wrapped, err := renderList(&libcni.NetworkConfigList{
		CNIVersion: one.Network.CNIVersion, Name: one.Network.Name, Plugins: []*libcni.PluginConfig{one},
	})
	if err != nil {
		return nil, err
	}
	return libcni.NetworkConfFromBytes(wrapped)
}

// renderList writes a list so that it can be read back without any other file.
func renderList(list *libcni.NetworkConfigList) (json.RawMessage, error) {
	out := struct {
		CNIVersion   string            `json:"cniVersion,omitempty"`
		Name         string            `json:"name"`
		DisableCheck bool              `json:"disableCheck,omitempty"`
		DisableGC    bool              `json:"disableGC,omitempty"`
		Plugins      []json.RawMessage `json:"plugins"`
	}{list.CNIVersion, list.Name, list.DisableCheck, list.DisableGC, nil}
	for _, p := range list.Plugins {
		out.Plugins = append(out.Plugins, p.Bytes)
	}
	return json.Marshal(out)
}

// missing names the first plugin of the network that is not installed.
func (n *Network) missing(binDirs []string) error {
	for _, p := range n.list.Plugins {
		for _, t := range []string{p.Network.Type, p.Network.IPAM.Type} {
			if t == "" {
				continue
			}
			if _, err := (&plugins{}).FindInPath(t, binDirs); err != nil {
				return fmt.Errorf("cannot use network %q of %s: %w", n.Name, n.File, err)
			}
		}
	}
	return nil
}

// networks finds the default network: the first file, in lexical order, that is valid. Files are read again only when
// they changed: a look costs one directory listing and one stat per file up to the chosen one.
type networks struct {
	confDir, ownDir string
	log             *slog.Logger

	mu    sync.Mutex
	files map[string]loaded
}

type loaded struct {
	modified time.Time
	size     int64
	net      *Network
	err      error
}

// first returns the default network, or errNoNetwork joined with why each file that is there cannot be used.
func (c *networks) first() (*Network, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	paths, err := confFiles(c.confDir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the CNI networks: %w", err)
	}
	var errs []error
	for _, path := range append(paths, filepath.Join(c.ownDir, OwnNetworkFile)) {
		net, err := c.load(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, err)
		default:
			return net, nil
		}
	}
	return nil, errors.Join(append([]error{fmt.Errorf("%w: put a .conflist file into %s, or set network.provider to auto for a bridge of the agent's own",
		errNoNetwork, c.confDir)}, errs...)...)
}

func (c *networks) load(path string) (*Network, error) {
	info, err := os.Stat(path)
	if err != nil {
		delete(c.files, path)
		return nil, err
	}
	if l, ok := c.files[path]; ok && l.modified.Equal(info.ModTime()) && l.size == info.Size() {
		return l.net, l.err
	}
	net, err := LoadNetwork(path)
	if err != nil {
		c.log.Warn("a CNI network file is passed over until it is repaired", "err", err)
	}
	if c.files == nil {
		c.files = map[string]loaded{}
	}
	c.files[path] = loaded{modified: info.ModTime(), size: info.Size(), net: net, err: err}
	return net, err
}

// confFiles lists what a runtime would look at, without the agent's own file. A missing directory has none.
func confFiles(dir string) ([]string, error) {
	paths, err := libcni.ConfFiles(dir, []string{".conf", ".conflist", ".json"})
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	return slices.DeleteFunc(paths, func(p string) bool { return filepath.Base(p) == ConflistName }), nil
}

// HasNetwork reports whether a configuration directory holds a network that can be used, besides the agent's own file.
func HasNetwork(confDir string) bool {
	paths, _ := confFiles(confDir)
	return slices.ContainsFunc(paths, func(p string) bool {
		_, err := LoadNetwork(p)
		return err == nil
	})
}
