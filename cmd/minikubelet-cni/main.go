// Command minikubelet-cni is the CNI plugin by which the runtime reaches the agent (see pkg/cni). The runtime starts it
// for every ADD, DEL and CHECK, so it does nothing that is not needed before the socket is reached. Without an agent it
// does the agent's part itself, on the same journal.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/minikubelet/minikubelet/pkg/cni"
)

func main() {
	os.Exit(run(context.Background(), os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run is one invocation as the CNI specification has it: its environment, its configuration on in, its result or its
// error on out.
func run(ctx context.Context, env func(string) string, in io.Reader, out, log io.Writer) int {
	config, err := io.ReadAll(io.LimitReader(in, cni.MaxRequest))
	if err != nil {
		return fail(out, config, types.NewError(types.ErrIOFailure, "cannot read standard input", err.Error()))
	}
	if env("CNI_COMMAND") == "VERSION" {
		if err := version.All.Encode(out); err != nil {
			return 1
		}
		return 0
	}
	settings, err := cni.ParseSettings(config)
	if err != nil {
		return fail(out, config, err)
	}
	request := cni.Request{
		Command: env("CNI_COMMAND"), ContainerID: env("CNI_CONTAINERID"), NetNS: env("CNI_NETNS"), IfName: env("CNI_IFNAME"),
		Args: env("CNI_ARGS"), Config: config,
	}
	response, err := cni.Ask(ctx, settings.Socket, request)
	if errors.Is(err, cni.ErrDown) || errors.Is(err, cni.ErrDied) {
		request.Resume = errors.Is(err, cni.ErrDied)
		response = cni.New(cni.Config{
			Dir: settings.Dir, ConfDir: settings.ConfDir, BinDirs: settings.BinDirs,
			Log: slog.New(slog.NewTextHandler(log, nil)),
		}).Do(ctx, request)
	} else if err != nil {
		return fail(out, config, types.NewError(types.ErrTryAgainLater, err.Error(), ""))
	}
	if response.Error != nil {
		return fail(out, config, response.Error)
	}
	if _, err := out.Write(response.Result); err != nil {
		return 1
	}
	return 0
}

// fail prints an error in the form of the CNI specification, section 5, and returns the exit code that goes with it.
func fail(out io.Writer, config []byte, err error) int {
	e, ok := errors.AsType[*types.Error](err)
	if !ok {
		e = types.NewError(types.ErrInternal, err.Error(), "")
	}
	var conf struct {
		CNIVersion string `json:"cniVersion"`
	}
	_ = json.Unmarshal(config, &conf)
	b, err := json.Marshal(struct {
		CNIVersion string `json:"cniVersion,omitempty"`
		*types.Error
	}{conf.CNIVersion, e})
	if err != nil {
		return 1
	}
	fmt.Fprintln(out, string(b))
	return 1
}
