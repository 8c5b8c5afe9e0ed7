package csi

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
)

func TestAccessMode(t *testing.T) {
	type mode = csipb.VolumeCapability_AccessMode_Mode
	for _, c := range []struct {
		modes []v1.PersistentVolumeAccessMode
		finer bool
		want  mode
	}{
		{nil, false, csipb.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		{[]v1.PersistentVolumeAccessMode{v1.ReadWriteOnce}, false, csipb.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		{[]v1.PersistentVolumeAccessMode{v1.ReadWriteOnce}, true, csipb.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER},
		{[]v1.PersistentVolumeAccessMode{v1.ReadWriteOncePod}, false, csipb.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		{[]v1.PersistentVolumeAccessMode{v1.ReadWriteOncePod}, true, csipb.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER},
		{[]v1.PersistentVolumeAccessMode{v1.ReadOnlyMany}, true, csipb.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY},
		{[]v1.PersistentVolumeAccessMode{v1.ReadWriteMany, v1.ReadWriteOnce}, false, csipb.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
	} {
		if got := accessMode(c.modes, c.finer); got != c.want {
			t.Errorf("accessMode(%v, %v) = %v, want %v", c.modes, c.finer, got, c.want)
		}
	}
}

func TestFinal_IsWhatSettlesThatNothingHappened(t *testing.T) {
	for code, want := range map[codes.Code]bool{
		codes.InvalidArgument: true, codes.NotFound: true, codes.FailedPrecondition: true, codes.Internal: true, codes.OutOfRange: true,
		codes.Canceled: false, codes.DeadlineExceeded: false, codes.Unavailable: false, codes.Aborted: false, codes.ResourceExhausted: false,
	} {
		if got := final(fmt.Errorf("driver x: %w", status.Error(code, "words"))); got != want {
			t.Errorf("final(%v) = %v, want %v", code, got, want)
		}
	}
	if final(errors.New("no gRPC status at all")) {
		t.Error("an error that is no driver's is final")
	}
}

func TestInUse_ListsAttachedVolumesOnceEach(t *testing.T) {
	n, err := New(Config{Root: t.TempDir(), NodeName: "n1", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for dir, d := range map[string]volData{
		"p1/volumes/kubernetes.io~csi/a": {Driver: "d", Handle: "a", AttachmentID: "csi-1"},
		"p2/volumes/kubernetes.io~csi/a": {Driver: "d", Handle: "a", AttachmentID: "csi-1"},
		"p2/volumes/kubernetes.io~csi/b": {Driver: "d", Handle: "b"},
		"p2/volumes/kubernetes.io~csi/c": {Driver: "d", Handle: "c", AttachmentID: "csi-2"},
	} {
		if err := intend(filepath.Join(n.cfg.Root, "pods", dir), d); err != nil {
			t.Fatal(err)
		}
	}
	got, err := n.InUse()
	if want := []Ref{{"d", "a"}, {"d", "c"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("in use: %v, %v; want %v", got, err, want)
	}
}

// The attach-detach controller computes the same names.
func TestNames_AreSHA256OfTheParts(t *testing.T) {
	for got, want := range map[string]string{
		AttachmentName("vol", "driver", "node"): "csi-4af94228ee9d441e02225497584706bfc975bdb4d2db3571d8c5db2668c1e969",
		EphemeralHandle("uid", "data"):          "csi-23e443c711b5dad0801c2e0a90f2be6e56dc28a2472cb2e8d6f0ead23e8765e9",
	} {
		if got != want {
			t.Errorf("name is %q, want %q", got, want)
		}
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"ebs.csi.aws.com": true, "a": true, "a_b": true, "": false, "..": false, "a/b": false, ".a": false, "a-": false, "é": false,
		"a123456789a123456789a123456789a123456789a123456789a123456789abcd": false,
	} {
		if got := validName(name); got != want {
			t.Errorf("validName(%q) = %v", name, got)
		}
	}
}

func TestUsers_CountsOtherPodsOfTheVolumeAlone(t *testing.T) {
	n, err := New(Config{Root: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ref := Ref{"d", "vol"}
	dir := func(uid string) string {
		return filepath.Join(n.cfg.Root, "pods", uid, "volumes", "kubernetes.io~csi", "pv")
	}
	for uid, d := range map[string]volData{"a": {Driver: "d", Handle: "vol"}, "b": {Driver: "d", Handle: "vol"}, "c": {Driver: "d", Handle: "other"}, "e": {Driver: "e", Handle: "vol"}} {
		if err := intend(dir(uid), d); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(dir("garbled"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir("garbled"), dataFile), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for except, want := range map[string]int{"": 2, dir("a"): 1, dir("c"): 2} {
		if got, err := n.users(ref, except); got != want || err != nil {
			t.Errorf("users except %q: %d, %v, want %d", except, got, err, want)
		}
	}
}

// TestNew_RemovesWhatAKillBeforeTheFirstNoteLeft guards against directories of staged volumes that nobody would remove.
func TestNew_RemovesWhatAKillBeforeTheFirstNoteLeft(t *testing.T) {
	root := t.TempDir()
	driver := filepath.Join(root, "plugins", "kubernetes.io", "csi", "d")
	noted := filepath.Join(driver, "noted")
	if err := errors.Join(os.MkdirAll(filepath.Join(driver, "empty"), 0o750), os.MkdirAll(noted, 0o750),
		os.WriteFile(filepath.Join(noted, dataFile), []byte("{}"), 0o600), os.WriteFile(filepath.Join(driver, "csi.sock"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Root: root, NodeName: "n1", Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(driver, "*"))
	if want := []string{filepath.Join(driver, "csi.sock"), noted}; err != nil || !slices.Equal(left, want) {
		t.Errorf("left %q, %v; want %q", left, err, want)
	}
}
