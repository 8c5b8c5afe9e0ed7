package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// publishBlock puts the volume's loop device at a file. The driver's mark on the volume names the device.
func (d *driver) publishBlock(id, target string, readOnly bool) error {
	if mounted, err := d.mounted(target); err == nil && mounted {
		return nil
	}
	if err := d.images.ensure(id, defaultSize); err != nil {
		return status.Errorf(codes.NotFound, "cannot use the volume: %v", err)
	}
	image, err := d.images.path(id)
	if err != nil {
		return status.Error(codes.NotFound, err.Error())
	}
	args := []string{"--find", "--show", image}
	if readOnly {
		args = append([]string{"--read-only"}, args...)
	}
	out, err := d.mounter.Exec.Command("losetup", args...).CombinedOutput()
	if err != nil {
		return status.Errorf(codes.Internal, "cannot make a device: %v %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	err = errors.Join(d.images.setMark(id, "block", device), os.MkdirAll(filepath.Dir(target), 0o750), os.WriteFile(target, nil, 0o600))
	if err == nil {
		err = d.mounter.Mount(device, target, "", []string{"bind"})
	}
	if err != nil {
		return status.Errorf(codes.Internal, "cannot publish %s at %s: %v", device, target, errors.Join(err, d.detach(id)))
	}
	return nil
}

// detach frees the device of a volume that has one.
func (d *driver) detach(id string) error {
	device, ok := d.images.mark(id, "block")
	if !ok {
		return nil
	}
	if out, err := d.mounter.Exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot free %s: %w %s", device, err, out)
	}
	return d.images.clearMark(id, "block")
}
