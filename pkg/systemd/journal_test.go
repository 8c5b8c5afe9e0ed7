package systemd

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJournal_BeginsEachLineWithItsPriority(t *testing.T) {
	var b strings.Builder
	log := slog.New(newJournal(&b, func(w io.Writer) slog.Handler {
		return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: withoutTime})
	}))
	log.Debug("d")
	log.Info("i", "time", "now")
	log.With("pod", "p").WithGroup("g").Warn("w", "time", "t")
	log.Error("e")
	want := "<7>level=DEBUG msg=d\n<6>level=INFO msg=i\n<4>level=WARN msg=w pod=p g.time=t\n<3>level=ERROR msg=e\n"
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

func TestToJournal_ComparesTheFileItself(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	s := info.Sys().(*syscall.Stat_t)
	for stream, want := range map[string]bool{
		fmt.Sprintf("%d:%d", s.Dev, s.Ino): true, fmt.Sprintf("%d:%d", s.Dev, s.Ino+1): false, "": false, "x:y": false, "5": false,
	} {
		if got := toJournal(f, stream); got != want {
			t.Errorf("%q: %t, want %t", stream, got, want)
		}
	}
}
