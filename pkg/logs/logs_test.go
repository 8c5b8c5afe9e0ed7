package logs

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const three = "2026-01-02T03:04:05.000000001Z stdout F one\n" +
	"2026-01-02T03:04:06.000000001Z stderr F two\n" +
	"2026-01-02T03:04:07.000000001Z stdout P thr\n" +
	"2026-01-02T03:04:07.000000002Z stdout F ee\n"

func writeLog(t *testing.T, path, content string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o640)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead_FollowsOptions(t *testing.T) {
	tests := map[string]struct {
		o    Options
		want string
	}{
		"all":          {want: "one\ntwo\nthree\n"},
		"tail":         {o: Options{TailLines: new(int64(3))}, want: "two\nthree\n"},
		"no line":      {o: Options{TailLines: new(int64(0))}, want: ""},
		"since":        {o: Options{Since: time.Date(2026, 1, 2, 3, 4, 7, 0, time.UTC)}, want: "three\n"},
		"limit":        {o: Options{LimitBytes: new(int64(5))}, want: "one\nt"},
		"timestamps":   {o: Options{Timestamps: true, LimitBytes: new(int64(35))}, want: "2026-01-02T03:04:05.000000001Z one\n"},
		"follow ended": {o: Options{Follow: true}, want: "one\ntwo\nthree\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := writeLog(t, filepath.Join(t.TempDir(), "0.log"), three)
			var out bytes.Buffer
			stopped := func(context.Context, string) (bool, error) { return false, nil }
			if err := Read(t.Context(), Log{path, "id", stopped}, tt.o, &out, &out); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRead_FollowsUntilTheContextEnds(t *testing.T) {
	path := writeLog(t, filepath.Join(t.TempDir(), "0.log"), three)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		running := func(context.Context, string) (bool, error) { return true, nil }
		done <- Read(ctx, Log{path, "id", running}, Options{Follow: true}, w, w)
	}()
	buf := make([]byte, len("one\ntwo\nthree\n"))
	if _, err := io.ReadFull(r, buf); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("2026-01-02T03:04:08Z stdout F four\n")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.ReadFull(r, buf[:5]); err != nil || string(buf[:5]) != "four\n" {
		t.Fatalf("followed %q, %v", buf[:5], err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Read() = %v, want no error at the end of the context", err)
	}
}

// TestRead_FollowsAcrossRotationsToTheLastWord rotates a log while it is followed. A runtime goes on writing into the old
// file until it is told to reopen the log, and may be told twice before the follower looks.
func TestRead_FollowsAcrossRotationsToTheLastWord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	r, w := io.Pipe()
	var reading sync.WaitGroup
	var reopened *os.File
	n := 0
	say := func(lines int) {
		for range lines {
			if _, err := fmt.Fprintf(reopened, "2026-01-02T03:04:05Z stdout F line %02d\n", n); err != nil {
				t.Error(err)
			}
			n++
		}
	}
	reopen := func() {
		var err error
		if reopened, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	reopen()
	reading.Go(func() {
		running := func(context.Context, string) (bool, error) { return true, nil }
		w.CloseWithError(Read(t.Context(), Log{path, "id", running}, Options{Follow: true, LimitBytes: new(int64(60 * 8))}, w, w))
	})
	say(10)
	first := make([]byte, 8)
	if _, err := io.ReadFull(r, first); err != nil { // it has opened the log, and waits to be read on
		t.Fatal(err)
	}
	for i := range 5 {
		if err := os.Rename(path, fmt.Sprintf("%s.20260102-03040%d", path, i)); err != nil {
			t.Fatal(err)
		}
		say(5)
		reopen()
		say(5)
	}
	got, err := io.ReadAll(r)
	reading.Wait()
	want := ""
	for i := range 60 {
		want += fmt.Sprintf("line %02d\n", i)
	}
	if diff := cmp.Diff(want, string(first)+string(got)); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestRead_FollowsLikeItReads(t *testing.T) {
	long := ""
	for i := range 500 {
		long += fmt.Sprintf("2026-01-02T03:04:05.%09dZ stderr F %0*d\n", i, i%40, i)
	}
	path := writeLog(t, filepath.Join(t.TempDir(), "0.log"), long+"garbage\n"+three+"2026-01-02T03:04:08Z stdout F no end")
	stopped := func(context.Context, string) (bool, error) { return false, nil }
	for name, o := range map[string]Options{
		"all": {}, "tail": {TailLines: new(int64(300))}, "more than all": {TailLines: new(int64(3000))}, "none": {TailLines: new(int64(0))},
		"limit": {LimitBytes: new(int64(777))}, "timestamps": {Timestamps: true}, "since": {Since: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)},
	} {
		var read, followed bytes.Buffer
		o.Follow = true
		if err := Read(t.Context(), Log{path, "id", stopped}, o, &followed, &followed); err != nil {
			t.Error(err)
		}
		o.Follow = false
		if err := Read(t.Context(), Log{Path: path}, o, &read, &read); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(read.String(), followed.String()); diff != "" {
			t.Errorf("%s (-read +followed):\n%s", name, diff)
		}
	}
}

// Between the renaming of a full log and the runtime's making of the next one there is none under its name.
func TestRead_WaitsForALogThatIsRotated(t *testing.T) {
	for _, follow := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "0.log")
		writeLog(t, path+".20260102-030405", three)
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(50 * time.Millisecond)
			if err := os.Rename(writeLog(t, path+".new", three), path); err != nil {
				t.Error(err)
			}
		})
		var out bytes.Buffer
		ended := func(context.Context, string) (bool, error) { return false, nil }
		if err := Read(t.Context(), Log{Path: path, Running: ended}, Options{Follow: follow}, &out, &out); err != nil || out.String() != "one\ntwo\nthree\n" {
			t.Errorf("follow %v: %q, %v", follow, out.String(), err)
		}
		wg.Wait()
	}
}

func TestRead_SaysThatThereIsNoLog(t *testing.T) {
	if err := Read(t.Context(), Log{Path: filepath.Join(t.TempDir(), "0.log")}, Options{}, nil, nil); !errors.Is(err, errNoLog) {
		t.Errorf("Read() = %v, want errNoLog", err)
	}
}

func TestTail_KeepsTheEnd(t *testing.T) {
	path := writeLog(t, filepath.Join(t.TempDir(), "0.log"), three)
	for _, tt := range []struct {
		lines, size int
		want        string
	}{{80, 2048, "one\ntwo\nthree\n"}, {3, 2048, "two\nthree\n"}, {80, 4, "ree\n"}} {
		if got, err := Tail(path, tt.lines, tt.size); err != nil || got != tt.want {
			t.Errorf("Tail(%d, %d) = %q, %v; want %q", tt.lines, tt.size, got, err, tt.want)
		}
	}
}

func TestRotator_BoundsLogsOfRunningContainers(t *testing.T) {
	root := t.TempDir()
	log := writeLog(t, filepath.Join(root, "ns_web_uid", "main", "2.log"), "")
	ended := writeLog(t, filepath.Join(root, "ns_web_uid", "main", "1.log"), strings.Repeat("x", 100))
	var reopenErr error
	r := NewRotator(RotateConfig{
		Root: root, MaxSize: 50, MaxFiles: 3, Log: slog.New(slog.DiscardHandler),
		Running: func(_ context.Context, uid, container string, attempt uint32) (string, error) {
			if uid == "uid" && container == "main" && attempt == 2 {
				return "id", nil
			}
			return "", nil
		},
		Reopen: func(_ context.Context, id string) error {
			if reopenErr != nil {
				return reopenErr
			}
			return os.WriteFile(log, nil, 0o640)
		},
	})
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 5 {
		writeLog(t, log, strings.Repeat(string(rune('a'+i)), 60))
		if err := r.pass(t.Context(), now.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	// The log, the one rotated last, and one older: three files.
	want := []string{"1.log", "2.log", "2.log.20260101-000003.gz", "2.log.20260101-000004"}
	if diff := cmp.Diff(want, names(t, filepath.Dir(log))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if i, err := os.Stat(ended); err != nil || i.Size() != 100 {
		t.Errorf("the log of a container that ended was touched: %v", err)
	}

	reopenErr = errors.New("no")
	writeLog(t, log, strings.Repeat("z", 60))
	if err := r.pass(t.Context(), now.Add(time.Minute)); !errors.Is(err, reopenErr) {
		t.Errorf("Pass() = %v, want the runtime's error", err)
	}
	if b, err := os.ReadFile(log); err != nil || len(b) != 60 {
		t.Errorf("a log that the runtime still writes lost its name: %v", err)
	}
}

func TestRotator_CompressesAllButTheNewest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ns_web_uid", "main")
	log := writeLog(t, filepath.Join(dir, "0.log"), strings.Repeat("x", 60))
	writeLog(t, log+".20250101-000000", "old")
	writeLog(t, log+".20250102-000000", "newer")
	writeLog(t, log+".20241231-000000.tmp", "half")
	writeLog(t, log+".keep", "somebody's")
	r := NewRotator(RotateConfig{
		Root: filepath.Dir(filepath.Dir(dir)), MaxSize: 50, Log: slog.New(slog.DiscardHandler),
		Running: func(context.Context, string, string, uint32) (string, error) { return "id", nil },
		Reopen:  func(context.Context, string) error { return nil },
	})
	if err := r.pass(t.Context(), time.Date(2025, 1, 3, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	want := []string{"0.log.20250101-000000.gz", "0.log.20250102-000000.gz", "0.log.20250103-000000", "0.log.keep"}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Fatalf("files (-want +got):\n%s", diff)
	}
	f, err := os.Open(log + ".20250101-000000.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != "old" {
		t.Errorf("compressed %q, %v", b, err)
	}
}

func TestLink_NamesAndRemovesLinks(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	target := writeLog(t, filepath.Join(root, "ns_web_uid", "main", "0.log"), "")
	gone := filepath.Join(root, "ns_web_uid", "main", "1.log")
	name := LinkName("web", "ns", "main", "abc")
	if name != "web_ns_main-abc.log" {
		t.Errorf("LinkName() = %q", name)
	}
	if n := LinkName(strings.Repeat("p", 253), "ns", "main", "abc"); len(n) != 255 || !strings.HasSuffix(n, ".log") {
		t.Errorf("LinkName() of a long name has %d bytes: %s", len(n), n)
	}
	err := errors.Join(Link(dir, name, gone), Link(dir, name, target), Link(dir, name, target), Link(dir, "gone.log", gone),
		os.Symlink("/elsewhere/gone", filepath.Join(dir, "other.log")), UnlinkDangling(dir, root))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"other.log", name}, names(t, dir)); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	if Link(dir, "../x", target) == nil {
		t.Error("Link() left its directory")
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
