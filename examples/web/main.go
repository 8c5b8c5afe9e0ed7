// Command web is the program of the examples: a small HTTP server that says where it runs and greets as its
// configuration tells it to. It ends on SIGTERM.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const address = ":8080"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "wait" {
		wait(ctx)
		return
	}
	if err := serve(ctx); err != nil {
		log.Fatal(err)
	}
}

// wait stands in for the work of an init container: it prints and ends after the seconds given.
func wait(ctx context.Context) {
	log.Print("preparing")
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	log.Print("prepared")
}

func serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /", greet)
	s := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		done <- s.Shutdown(grace)
	}()
	log.Printf("listening on %s", address)
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	log.Print("stopping")
	return <-done
}

func greet(w http.ResponseWriter, r *http.Request) {
	greeting, err := os.ReadFile("/etc/greeting/text")
	if err != nil {
		greeting = []byte("hello")
	}
	log.Printf("%s %s from %s", r.Method, r.URL.Path, r.RemoteAddr)
	fmt.Fprintf(w, "%s from pod %s at %s\n", strings.TrimSpace(string(greeting)), os.Getenv("POD_NAME"), os.Getenv("POD_IP"))
}
