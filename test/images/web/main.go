// Command web is the workload of the tests and of the examples: an HTTP server that says who it is, whose health can be
// switched, that serves gRPC health, and that ends the way it is told to. It is a static program in an image without a
// shell, so it also has the few commands that probes and `kubectl exec` need.
//
//	web [flags]          serve; see web -h
//	web ask URL          GET again and again, each time over a new connection; print failures, and at SIGTERM the sums
//	web get URL          print the answer to a GET, exit 1 unless the code is 2xx or 3xx
//	web test PATH        exit 0 when the path exists
//	web nest PATH LEVELS make directories of 255-byte names in each other, and end
//	web exit CODE        exit with a code
//	web echo WORD...     print the words
//	web cat              copy standard input to standard output
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the flags of `web`.
type options struct {
	addr         string
	grpcAddr     string
	tlsAddr      string
	tlsOnly2     bool
	tcpAddr      string
	print        bool
	name         string
	unready      bool          // start with /readyz failing
	startupAfter time.Duration // /startupz fails until then
	ignoreTerm   bool
	termDelay    time.Duration
	termCode     int
	exitAfter    time.Duration
	exitCode     int
	touch        string
	termMessage  string
}

func main() {
	log.SetFlags(log.Lmicroseconds)
	log.SetOutput(os.Stdout)
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		os.Exit(command(os.Args[1], os.Args[2:]))
	}
	var o options
	flag.StringVar(&o.addr, "addr", ":8080", "HTTP address; empty serves no HTTP")
	flag.StringVar(&o.grpcAddr, "grpc-addr", "", "gRPC health address; empty serves no gRPC")
	flag.StringVar(&o.tlsAddr, "tls-addr", "", "HTTPS address, with a certificate that nobody knows; empty serves no HTTPS")
	flag.BoolVar(&o.tlsOnly2, "tls-http2-only", false, "speak HTTP/2 alone on the HTTPS address")
	flag.StringVar(&o.tcpAddr, "tcp-addr", "", "address that takes connections and prints what comes; empty takes none")
	flag.BoolVar(&o.print, "print", false, "print every request whole")
	flag.StringVar(&o.name, "name", os.Getenv("POD_NAME"), "name to answer with; by default $POD_NAME, then the host name")
	flag.BoolVar(&o.unready, "unready", false, "start unready: /readyz fails until POST /set/readyz?ok=true")
	flag.DurationVar(&o.startupAfter, "startup-after", 0, "how long /startupz fails after the start")
	flag.BoolVar(&o.ignoreTerm, "ignore-term", false, "log SIGTERM and go on")
	flag.DurationVar(&o.termDelay, "term-delay", 0, "how long to go on serving after SIGTERM")
	flag.IntVar(&o.termCode, "term-code", 0, "exit code after SIGTERM")
	flag.DurationVar(&o.exitAfter, "exit-after", 0, "exit by itself after this time; 0 never")
	flag.IntVar(&o.exitCode, "exit-code", 0, "exit code of -exit-after")
	flag.StringVar(&o.touch, "touch", "", "append one line to this file at every start")
	flag.StringVar(&o.termMessage, "termination-message", "", "written to /dev/termination-log at the end")
	flag.Parse()
	os.Exit(serve(o))
}

// serve runs the servers until a signal, /exit or -exit-after ends the process, and returns its exit code.
func serve(o options) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if o.touch != "" {
		if err := appendLine(o.touch); err != nil {
			log.Printf("cannot touch: %v", err)
			return 1
		}
	}
	h := newHealth(o)
	exits := make(chan int, 1)
	fail := make(chan error, 4)
	web := handler(o, h, exits)
	if o.print {
		web = printed(web)
	}
	if o.addr != "" {
		go func() { fail <- http.ListenAndServe(o.addr, web) }()
	}
	if o.tlsAddr != "" {
		go func() { fail <- serveTLS(o, web) }()
	}
	if o.grpcAddr != "" {
		go func() { fail <- serveGRPC(ctx, o, h) }()
	}
	if o.tcpAddr != "" {
		go func() { fail <- serveTCP(ctx, o.tcpAddr) }()
	}
	log.Printf("serving as %s on %q, gRPC health on %q", whoami(o), o.addr, o.grpcAddr)
	code := wait(o, exits, fail)
	if o.termMessage != "" {
		_ = os.WriteFile("/dev/termination-log", []byte(o.termMessage), 0o644)
	}
	log.Printf("exiting with code %d", code)
	return code
}

func wait(o options, exits <-chan int, fail <-chan error) int {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	var ends, own <-chan time.Time
	if o.exitAfter > 0 {
		own = time.After(o.exitAfter)
	}
	for {
		select {
		case s := <-signals:
			log.Printf("received %s", s)
			if !o.ignoreTerm && ends == nil {
				ends = time.After(o.termDelay)
			}
		case <-ends:
			return o.termCode
		case <-own:
			return o.exitCode
		case c := <-exits:
			return c
		case err := <-fail:
			log.Printf("cannot serve: %v", err)
			return 1
		}
	}
}

func appendLine(path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, time.Now().UTC().Format(time.RFC3339Nano))
	return errors.Join(err, f.Close())
}

func command(name string, args []string) int {
	switch {
	case name == "ask" && len(args) == 1:
		return ask(args[0])
	case name == "get" && len(args) == 1:
		return get(args[0])
	case name == "test" && len(args) == 1:
		if _, err := os.Stat(args[0]); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	case name == "nest" && len(args) == 2:
		return nest(args[0], args[1])
	case name == "exit" && len(args) == 1:
		code, err := strconv.Atoi(args[0])
		if err != nil {
			return 2
		}
		return code
	case name == "echo":
		fmt.Println(strings.Join(args, " "))
		return 0
	case name == "cat" && len(args) == 0:
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			return 1
		}
		return 0
	}
	fmt.Fprintf(os.Stderr, "web: unknown command %q\n", append([]string{name}, args...))
	return 2
}

func nest(dir, levels string) int {
	n, err := strconv.Atoi(levels)
	if err == nil {
		err = os.Chdir(dir)
	}
	below := strings.Repeat("d", 255)
	for ; n > 0 && err == nil; n-- { // no path is long enough to name them
		if err = os.Mkdir(below, 0o755); err == nil {
			err = os.Chdir(below)
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%.300v, %d levels before the last\n", err, n)
		return 1
	}
	return 0
}

func get(url string) int {
	c := http.Client{Timeout: 5 * time.Second}
	resp, err := c.Get(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer resp.Body.Close()
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil || resp.StatusCode >= 400 {
		fmt.Fprintln(os.Stderr, resp.Status)
		return 1
	}
	return 0
}
