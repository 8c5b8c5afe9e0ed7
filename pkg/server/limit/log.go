package limit

import (
	"bytes"
	"context"
	"log"
	"log/slog"
)

// ErrorLog is what an http.Server logs to: it tells of handlers that panic, and lets pass in silence what anybody can cause
// from outside.
func ErrorLog() *log.Logger { return log.New(errorLog{}, "", 0) }

type errorLog struct{}

func (errorLog) Write(b []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.Contains(b, []byte("panic")) {
		level = slog.LevelError
	}
	slog.Log(context.Background(), level, "http server", "said", string(bytes.TrimSpace(b)))
	return len(b), nil
}
