package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
	"k8s.io/mount-utils"
	"k8s.io/utils/exec"
)

// options are the command's flags.
type options struct {
	name         string
	nodeID       string
	socket       string
	registration string
	stateDir     string
	failures     string
	kubeconfig   string
	stageless    bool
}

func main() {
	var o options
	flag.StringVar(&o.name, "name", "loop.csi.minikubelet.dev", "name of the driver")
	flag.StringVar(&o.nodeID, "node-id", "node", "id of this node, as NodeGetInfo gives it")
	flag.StringVar(&o.socket, "socket", "", "path of the CSI socket")
	flag.StringVar(&o.registration, "registration-socket", "", "path of the registration socket, in the agent's plugins_registry; empty: none")
	flag.StringVar(&o.stateDir, "state-dir", "", "directory of the volumes' files")
	flag.StringVar(&o.failures, "failures", "", "file of calls that fail or wait, read at every call; see failures.go")
	flag.StringVar(&o.kubeconfig, "attach-kubeconfig", "", "be attached: need ControllerPublishVolume before a stage, and answer this API server's VolumeAttachments")
	flag.BoolVar(&o.stageless, "stageless", false, "have no STAGE_UNSTAGE_VOLUME: publish mounts alone")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if err := run(ctx, o, slog.New(slog.NewTextHandler(os.Stdout, nil))); err != nil {
		fmt.Fprintln(os.Stderr, "csidriver:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, log *slog.Logger) error {
	if o.socket == "" || o.stateDir == "" {
		return errors.New("-socket and -state-dir are needed")
	}
	if err := os.MkdirAll(o.stateDir, 0o700); err != nil {
		return fmt.Errorf("cannot make the state directory: %w", err)
	}
	d := &driver{
		options: o,
		log:     log,
		images:  images{dir: o.stateDir},
		mounter: &mount.SafeFormatAndMount{Interface: mount.New(""), Exec: exec.New()},
	}
	g, ctx := errgroup.WithContext(ctx)
	server := grpc.NewServer(grpc.UnaryInterceptor(d.intercept))
	csi.RegisterIdentityServer(server, d)
	csi.RegisterNodeServer(server, d)
	csi.RegisterControllerServer(server, d)
	if err := serve(ctx, g, server, o.socket); err != nil {
		return err
	}
	if o.kubeconfig != "" {
		g.Go(func() error { return d.attachVolumes(ctx) })
	}
	if o.registration != "" {
		register := grpc.NewServer()
		registerapi.RegisterRegistrationServer(register, &registration{name: o.name, socket: o.socket, log: log})
		if err := serve(ctx, g, register, o.registration); err != nil {
			return err
		}
	}
	return g.Wait()
}

// serve listens before it returns, so that the registration socket never names a CSI socket that is not there.
func serve(ctx context.Context, g *errgroup.Group, s *grpc.Server, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot replace a socket: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	g.Go(func() error { return s.Serve(l) })
	g.Go(func() error {
		<-ctx.Done()
		s.Stop()
		return nil
	})
	return nil
}

// registration is the node's plugin registration service, version 1.
type registration struct {
	registerapi.UnimplementedRegistrationServer
	name, socket string
	log          *slog.Logger
}

func (r *registration) GetInfo(context.Context, *registerapi.InfoRequest) (*registerapi.PluginInfo, error) {
	return &registerapi.PluginInfo{Type: registerapi.CSIPlugin, Name: r.name, Endpoint: r.socket, SupportedVersions: []string{"1.0.0"}}, nil
}

func (r *registration) NotifyRegistrationStatus(_ context.Context, s *registerapi.RegistrationStatus) (*registerapi.RegistrationStatusResponse, error) {
	r.log.Info("registration", "registered", s.PluginRegistered, "error", s.Error)
	return &registerapi.RegistrationStatusResponse{}, nil
}
