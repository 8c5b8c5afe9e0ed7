// Command demo runs the examples for real: a private containerd (own root, state and socket; one that runs already is not
// touched), minikubelet on examples/, the pods as they come up, a request to the web pod, its log; then it stops
// everything and leaves nothing behind. With no terminal it ends by itself; with -keep it waits for Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	keep := flag.Bool("keep", false, "leave everything running until Ctrl-C")
	repo := flag.String("repo", ".", "the repository")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, *repo, *keep)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, repo string, keep bool) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("containers need root: run sudo make demo")
	}
	unlock, err := lock("minikubelet-demo")
	if err != nil {
		return err
	}
	n, err := newNode(repo)
	if err != nil {
		return errors.Join(err, unlock())
	}
	defer func() { err = errors.Join(err, n.remove(), unlock()) }()
	err = n.show(ctx)
	if keep && err == nil {
		say("It stays until Ctrl-C. In another terminal: %s", n.command("get", "pods"))
		<-ctx.Done()
	}
	// Ctrl-C, and a failure too, cut short what is shown, not the orderly end.
	interrupted := ctx.Err() != nil
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	switch {
	case interrupted:
		fmt.Println()
		err = nil
	case err != nil:
		n.explain()
	}
	begin := time.Now()
	if endErr := n.stopPods(end); endErr != nil {
		return errors.Join(err, endErr)
	}
	if err == nil {
		say("The pods have ended in %.1f s; their networks, volumes and cgroups are gone.", time.Since(begin).Seconds())
	}
	if err == nil && !keep && !interrupted {
		say("To keep it running: sudo make demo KEEP=1")
	}
	return err
}

// show runs the steps that people watch, until one fails.
func (n *node) show(ctx context.Context) error {
	for _, step := range []func(context.Context) error{n.startContainerd, n.startAgent, n.watchPods, n.ask} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// lock keeps a second demo from this machine: both would use the same bridge and cgroup. The name is of an abstract
// socket, which leaves no file, and is free as soon as its process ends.
func lock(name string) (unlock func() error, err error) {
	l, err := net.Listen("unix", "@"+name)
	if err != nil {
		return nil, fmt.Errorf("another demo runs on this machine: end it first: %w", err)
	}
	return l.Close, nil
}

func say(format string, args ...any) { fmt.Printf("\n# "+format+"\n", args...) }
