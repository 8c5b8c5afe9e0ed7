package plugin

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/cni"
)

// Provider says who makes the pods' networks.
type Provider string

// The providers. Agent uses the networks of the configuration directory, and the node is not ready before there is one.
// Auto is Agent with a bridge network of its own as long as there is none; it leaves a node alone that has a network and
// where the agent cannot be installed (a read-only system directory, a build without the plugin). Runtime touches nothing.
const (
	Agent   Provider = "agent"
	Auto    Provider = "auto"
	Runtime Provider = "runtime"
)

// Config is what to install, and where. The directories are the runtime's own: it says them in its CRI status.
type Config struct {
	Provider Provider
	Settings cni.Settings // the plugin binary goes into the first of BinDirs
	Bridge   Bridge       // for Auto
	Log      *slog.Logger
}

// Install makes the agent the node's CNI plugin as the provider asks for, and returns the provider that is in force:
// Agent or Runtime. It writes only what is not there already. Serve the socket before: the runtime uses the plugin at once.
func Install(cfg Config) (Provider, error) {
	switch cfg.Provider {
	case Runtime:
		return Runtime, nil
	case Agent:
		return Agent, install(cfg)
	case Auto:
	default:
		return "", fmt.Errorf("network.provider is %q: it must be agent, auto or runtime", cfg.Provider)
	}
	has := cni.HasNetwork(cfg.Settings.ConfDir)
	if !has {
		if err := writeBridge(cfg.Settings.Dir, cfg.Bridge); err != nil {
			return "", err
		}
	}
	err := install(cfg)
	if err != nil && has {
		cfg.Log.Warn("the agent cannot be the node's CNI plugin and leaves the network to the runtime", "err", err)
		return Runtime, nil
	}
	return Agent, err
}

func install(cfg Config) error {
	s := cfg.Settings
	if s.ConfDir == "" || len(s.BinDirs) == 0 {
		return errors.New("cannot install the CNI plugin: the runtime's CNI directories are unknown, set network.confDir and network.binDir")
	}
	if _, err := os.Stat(s.ConfDir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(s.ConfDir, 0o755); err != nil {
			return fmt.Errorf("cannot install the CNI plugin: %w", err)
		}
	}
	if err := os.MkdirAll(s.BinDirs[0], 0o755); err != nil {
		return fmt.Errorf("cannot install the CNI plugin: %w", err)
	}
	if err := writeBinary(filepath.Join(s.BinDirs[0], cni.PluginType)); err != nil {
		return fmt.Errorf("cannot install the CNI plugin: %w", err)
	}
	conf, err := s.Conflist()
	if err != nil {
		return fmt.Errorf("cannot render %s: %w", cni.ConflistName, err)
	}
	path := filepath.Join(s.ConfDir, cni.ConflistName)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, conf) {
		return nil
	}
	if err := atomicfile.Write(path, conf, 0o600, atomicfile.Content); err != nil {
		return fmt.Errorf("cannot install the CNI configuration: %w", err)
	}
	return nil
}

// Remove takes away what Install wrote, the configuration first so that the runtime stops using the plugin. The journal
// stays while pods are attached: they are released by their runtime through the networks of today.
func Remove(s cni.Settings, bridge Bridge) error {
	paths := []string{filepath.Join(s.ConfDir, cni.ConflistName)}
	for _, d := range s.BinDirs {
		paths = append(paths, filepath.Join(d, cni.PluginType))
	}
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("cannot remove the CNI plugin: %w", err))
		}
	}
	errs = append(errs, removeBridge(s.Dir, bridge))
	if err := os.Remove(filepath.Join(s.Dir, "attachments")); err == nil || errors.Is(err, fs.ErrNotExist) {
		_ = os.Remove(filepath.Join(s.Dir, "lock")) // there is nothing to lock any more
	}
	for _, d := range []string{"results", ""} {
		_ = os.Remove(filepath.Join(s.Dir, d)) // when it is empty
	}
	return errors.Join(errs...)
}
