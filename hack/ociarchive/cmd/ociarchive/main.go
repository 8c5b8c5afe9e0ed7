// Command ociarchive packs files of this machine into an OCI archive:
//
//	ociarchive -o web.tar -ref minikubelet.dev/web:1 -entrypoint /web -file bin/web:/web
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ociarchive:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var im ociarchive.Image
	fs := flag.NewFlagSet("ociarchive", flag.ContinueOnError)
	out := fs.String("o", "", "archive to write")
	fs.StringVar(&im.Ref, "ref", "", "full image reference, as the runtime knows it")
	entrypoint := fs.String("entrypoint", "", "entrypoint, its words separated by spaces")
	cmd := fs.String("cmd", "", "command, its words separated by spaces")
	fs.StringVar(&im.Config.User, "user", "", "user of the process, uid or uid:gid")
	fs.Func("file", "`src:dst`: a file of this machine and its path in the image (repeatable)", func(s string) error {
		src, dst, ok := strings.Cut(s, ":")
		if !ok {
			return errors.New("want src:dst")
		}
		f, err := ociarchive.FromDisk(src, dst)
		im.Files = append(im.Files, f)
		return err
	})
	fs.Func("link", "`path=target`: a symbolic link in the image (repeatable)", func(s string) error {
		p, target, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want path=target")
		}
		im.Files = append(im.Files, ociarchive.File{Path: p, Link: target})
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *out == "" || im.Ref == "" || len(im.Files) == 0 {
		return errors.New("-o, -ref and at least one -file are needed")
	}
	im.Config.Entrypoint, im.Config.Cmd = strings.Fields(*entrypoint), strings.Fields(*cmd)
	im.Config.Env = []string{"PATH=" + pathEnv}
	return ociarchive.WriteFile(*out, im)
}

const pathEnv = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
