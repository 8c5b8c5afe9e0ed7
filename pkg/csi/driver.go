package csi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// driver is a connection to a driver's node service, and what it said of itself when it registered.
type driver struct {
	info     Driver
	endpoint string
	timeout  time.Duration
	conn     *grpc.ClientConn
	client   csipb.NodeClient
	can      map[csipb.NodeServiceCapability_RPC_Type]bool
}

// dial connects to a unix socket, lazily. A plugin that was away is noticed again within a second.
func dial(socket string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("unix://"+strings.TrimPrefix(socket, "unix://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: registrationTimeout,
		}))
	if err != nil {
		return nil, fmt.Errorf("cannot use the socket %s: %w", socket, err)
	}
	return conn, nil
}

// validName is the CSI spec's rule for GetPluginInfo.name.
func validName(name string) bool {
	for i, r := range name {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		inside := i > 0 && i < len(name)-1 && strings.ContainsRune("-._", r)
		if !letter && !inside {
			return false
		}
	}
	return name != "" && len(name) <= 63
}

// open connects to a driver and asks what it is.
func (n *Node) open(ctx context.Context, name, endpoint string, versions []string) (*driver, error) {
	if !validName(name) {
		return nil, fmt.Errorf("plugin name %q is not valid: at most 63 letters, digits, '-', '_' and '.'", name)
	}
	if !slices.ContainsFunc(versions, func(v string) bool { return strings.HasPrefix(strings.TrimPrefix(v, "v"), "1.") }) {
		return nil, fmt.Errorf("driver %s supports CSI versions %q: version 1 is needed", name, versions)
	}
	conn, err := dial(endpoint)
	if err != nil {
		return nil, err
	}
	d := &driver{
		info: Driver{Name: name}, endpoint: endpoint, timeout: n.cfg.CallTimeout, conn: conn,
		client: csipb.NewNodeClient(conn), can: map[csipb.NodeServiceCapability_RPC_Type]bool{},
	}
	if err := d.ask(ctx); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *driver) ask(ctx context.Context) error {
	info, err := call(ctx, d, "NodeGetInfo", d.client.NodeGetInfo, &csipb.NodeGetInfoRequest{})
	if err != nil {
		return err
	}
	d.info.NodeID = info.GetNodeId()
	d.info.Topology = info.GetAccessibleTopology().GetSegments()
	d.info.MaxVolumes = info.GetMaxVolumesPerNode()
	caps, err := call(ctx, d, "NodeGetCapabilities", d.client.NodeGetCapabilities, &csipb.NodeGetCapabilitiesRequest{})
	if err != nil {
		return err
	}
	for _, c := range caps.GetCapabilities() {
		d.can[c.GetRpc().GetType()] = true
	}
	return nil
}

func (d *driver) close() { _ = d.conn.Close() } // nothing is in flight that anyone waits for

func (d *driver) stages() bool {
	return d.can[csipb.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME]
}

// call is one call to a driver with its deadline. Errors name the driver and the call and keep the gRPC status.
func call[Request, Response any](ctx context.Context, d *driver, name string, rpc func(context.Context, Request, ...grpc.CallOption) (Response, error), req Request) (Response, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	resp, err := rpc(ctx, req)
	switch {
	case err == nil:
		return resp, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded), status.Code(err) == codes.DeadlineExceeded: // the far side may notice first
		err = fmt.Errorf("driver %s did not answer %s in time: %w (look at the log of its node plugin)", d.info.Name, name, err)
	case status.Code(err) == codes.Unavailable:
		err = fmt.Errorf("driver %s cannot be reached for %s: %w (is its node plugin running?)", d.info.Name, name, err)
	default:
		err = fmt.Errorf("driver %s: %s: %w", d.info.Name, name, err)
	}
	return resp, err
}

// final reports whether a driver's error settles that the call had no effect; after any other the volume may be staged or
// published, now or later (CSI spec, "Error Scheme").
func final(err error) bool {
	switch status.Code(err) {
	case codes.OK, codes.Unknown, codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		return false
	}
	return true
}
