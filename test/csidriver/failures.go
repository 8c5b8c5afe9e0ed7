package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// intercept logs every call, and before it does what the failures file asks. The file has a line per method:
//
//	NodeStageVolume Unavailable the array is rebooting      fail with a gRPC code and a message
//	NodePublishVolume delay 2s                              wait first, or until the caller gives up
//
// It is read at every call, so a test changes it while the driver runs.
func (d *driver) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method := path.Base(info.FullMethod)
	resp, err := any(nil), d.fail(ctx, method)
	if err == nil {
		resp, err = handler(ctx, req)
	}
	attrs := []any{"method", method, "code", status.Code(err).String()}
	if v, ok := req.(interface{ GetVolumeId() string }); ok {
		attrs = append(attrs, "volume", v.GetVolumeId())
	}
	if v, ok := req.(interface{ GetTargetPath() string }); ok {
		attrs = append(attrs, "target", v.GetTargetPath())
	}
	if v, ok := req.(interface{ GetStagingTargetPath() string }); ok {
		attrs = append(attrs, "staging", v.GetStagingTargetPath())
	}
	if v, ok := req.(interface{ GetVolumeContext() map[string]string }); ok {
		for key, value := range v.GetVolumeContext() {
			if strings.HasPrefix(key, "csi.storage.k8s.io/") && !strings.HasPrefix(key, "csi.storage.k8s.io/serviceAccount.tokens") {
				attrs = append(attrs, key, value)
			}
		}
	}
	if err != nil {
		attrs = append(attrs, "error", err.Error())
	}
	d.log.Info("call", attrs...)
	return resp, err
}

func (d *driver) fail(ctx context.Context, method string) error {
	if d.failures == "" {
		return nil
	}
	b, err := os.ReadFile(d.failures)
	if err != nil {
		return nil // no file: nothing fails
	}
	for line := range strings.Lines(string(b)) {
		name, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != method {
			continue
		}
		kind, rest, _ := strings.Cut(what, " ")
		if kind == "delay" {
			return wait(ctx, rest)
		}
		code, err := parseCode(kind)
		if err != nil {
			return err
		}
		return status.Error(code, rest)
	}
	return nil
}

func wait(ctx context.Context, duration string) error {
	d, err := time.ParseDuration(duration)
	if err != nil {
		return fmt.Errorf("cannot read the failures file: %w", err)
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func parseCode(name string) (codes.Code, error) {
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		if c.String() == name {
			return c, nil
		}
	}
	return codes.Unknown, errors.New("cannot read the failures file: there is no gRPC code " + name)
}
