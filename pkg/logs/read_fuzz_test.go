package logs

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A log is written by a runtime that may be killed while it writes, on a disk that may be full. Whatever is in it, reading
// it ends, and gives no more than was asked for, nor anything that is not in it.
func FuzzRead(f *testing.F) {
	const stamp = "2026-11-21T05:50:28.123456789Z "
	f.Add([]byte(stamp+"stdout F one\n"+stamp+"stderr F two\n"), int64(1), int64(4), false)
	f.Add([]byte(stamp+"stdout P half\n"+stamp+"stdout F  a line\n"), int64(-1), int64(0), true)
	f.Add([]byte(stamp+"stdout P half"), int64(5), int64(100), true)
	f.Add([]byte(`{"log":"docker\n","stream":"stdout","time":"2026-11-21T05:50:28Z"}`+"\n"), int64(2), int64(3), false)
	f.Add([]byte("\x00\x00\x00\n"+stamp+"stdout F after a power cut\n"), int64(2), int64(-1), false)
	path := filepath.Join(f.TempDir(), "0.log")
	f.Fuzz(func(t *testing.T, b []byte, tail, limit int64, since bool) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var o Options
		if tail >= 0 {
			o.TailLines = &tail
		}
		if limit >= 0 {
			o.LimitBytes = &limit
		}
		if since {
			o.Since = time.Date(2026, 11, 21, 5, 50, 28, 0, time.UTC)
		}
		var out, errOut bytes.Buffer
		err := Read(t.Context(), Log{Path: path}, o, &out, &errOut)
		if got := int64(out.Len() + errOut.Len()); limit >= 0 && got > limit {
			t.Errorf("%d bytes were read, the limit is %d", got, limit)
		}
		if err == nil && out.Len()+errOut.Len() > len(b)+1 {
			t.Errorf("%d bytes were read out of %d", out.Len()+errOut.Len(), len(b))
		}
		text, err := Tail(path, 3, 16)
		if len(text) > 16 || err == nil && strings.Count(text, "\n") > 3 {
			t.Errorf("the last 3 lines and 16 bytes are %q", text)
		}
	})
}
