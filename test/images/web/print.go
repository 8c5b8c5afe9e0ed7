package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// What -print prints of every request begins with this.
const asked = "asked "

// printed prints what a client asks, with its headers and how the connection was made, before it is answered, and whether the
// client took the whole answer.
func printed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said := []string{r.Method, r.RequestURI, r.Proto, "Host: " + r.Host}
		for name, values := range r.Header {
			for _, v := range values {
				said = append(said, fmt.Sprintf("%s: %q", name, v))
			}
		}
		slices.Sort(said[4:])
		n, _ := io.Copy(io.Discard, r.Body)
		said = append(said, fmt.Sprintf("body of %d bytes", n))
		if r.Close {
			said = append(said, "to be closed")
		}
		if r.TLS != nil {
			said = append(said, fmt.Sprintf("%s %s for %q", tls.VersionName(r.TLS.Version), r.TLS.NegotiatedProtocol, r.TLS.ServerName))
		}
		fmt.Println(asked + strings.Join(said, ", "))
		h.ServeHTTP(w, r)
	})
}

// printHello prints what a client offers for TLS.
func printHello(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	var versions []string
	for _, v := range hello.SupportedVersions {
		versions = append(versions, tls.VersionName(v))
	}
	fmt.Printf(asked+"TLS: protocols %v, name %q, %v, %d ciphers, curves %v, signatures %v\n",
		hello.SupportedProtos, hello.ServerName, versions, len(hello.CipherSuites), hello.SupportedCurves, hello.SignatureSchemes)
	return nil, nil //nolint:nilnil // the server's own configuration
}

// printGRPC prints what a gRPC client asks.
func printGRPC(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	said := []string{}
	for name, values := range md {
		said = append(said, fmt.Sprintf("%s: %q", name, values))
	}
	slices.Sort(said)
	fmt.Printf(asked+"%s %v, %s\n", info.FullMethod, req, strings.Join(said, ", "))
	return h(ctx, req)
}

// serveTCP takes connections and prints what is sent on each until its client ends it.
func serveTCP(ctx context.Context, addr string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			b, err := io.ReadAll(io.LimitReader(c, 4096))
			fmt.Printf(asked+"a connection, %q and then %s\n", b, ending(err))
		}()
	}
}

func ending(err error) string {
	if err == nil {
		return "its end"
	}
	return err.Error()
}

// much answers with so many bytes, and prints whether the client took them all.
func much(w http.ResponseWriter, r *http.Request) {
	var n, sent int64
	_, err := fmt.Sscan(r.FormValue("bytes"), &n)
	line := strings.Repeat("x", 1023) + "\n"
	for err == nil && sent < n {
		var k int
		k, err = io.WriteString(w, line)
		sent += int64(k)
	}
	took := "took it"
	if err != nil {
		took = "did not take it whole"
	}
	fmt.Println(asked + "an answer and " + took)
}
