package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/utils"
)

// The commands of the CNI specification 1.1 that reach a Node. VERSION is answered by the plugin itself.
const (
	cmdAdd    = "ADD"
	cmdDel    = "DEL"
	cmdCheck  = "CHECK"
	cmdStatus = "STATUS"
	cmdGC     = "GC"
)

// MaxRequest bounds a request and a response on the socket, in bytes.
const MaxRequest = 1 << 20

// maxID keeps the names of journal files below what file systems allow.
const maxID = 200

// Request is one invocation of the plugin by the runtime: its CNI_ environment and its standard input.
type Request struct {
	Command     string          `json:"command"`
	ContainerID string          `json:"containerID,omitempty"`
	NetNS       string          `json:"netns,omitempty"`
	IfName      string          `json:"ifname,omitempty"`
	Args        string          `json:"args,omitempty"` // CNI_ARGS: K=V;K=V
	Config      json.RawMessage `json:"config"`         // standard input

	// Resume marks an ADD whose agent died before it answered: what it finished is taken over instead of made again.
	Resume bool `json:"-"`
}

// Response answers a Request. Both fields are empty after a command that has no result.
type Response struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *types.Error    `json:"error,omitempty"`
}

// stdin is what a Node reads of the configuration on the plugin's standard input.
type stdin struct {
	CNIVersion    string                     `json:"cniVersion"`
	RuntimeConfig map[string]json.RawMessage `json:"runtimeConfig"`
	Valid         []types.GCAttachment       `json:"cni.dev/valid-attachments"`
}

// check refuses names that could not be file names, before any path is built from them (CNI SPEC, section 2).
func (r Request) check() error {
	switch r.Command {
	case cmdStatus, cmdGC:
		return nil
	case cmdAdd, cmdDel, cmdCheck:
	default:
		return types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("unknown CNI_COMMAND %q", r.Command), "")
	}
	if r.NetNS == "" && r.Command != cmdDel {
		return types.NewError(types.ErrInvalidEnvironmentVariables, "CNI_NETNS is empty", "")
	}
	return checkNames(r.ContainerID, r.IfName)
}

func checkNames(containerID, ifName string) error {
	if err := utils.ValidateContainerID(containerID); err != nil {
		return err
	}
	if len(containerID) > maxID {
		return types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("container ID is longer than %d bytes", maxID), "")
	}
	if err := utils.ValidateInterfaceName(ifName); err != nil {
		return err
	}
	return nil
}

// parse reads what a Node needs of the request's configuration.
func (r Request) parse() (stdin, error) {
	var in stdin
	if err := json.Unmarshal(r.Config, &in); err != nil {
		return in, types.NewError(types.ErrDecodingFailure, "cannot read the network configuration on standard input", err.Error())
	}
	return in, nil
}

// parseArgs splits CNI_ARGS.
func parseArgs(s string) ([][2]string, error) {
	var args [][2]string
	for pair := range strings.SplitSeq(s, ";") {
		if pair == "" {
			continue
		}
		k, v, ok := strings.Cut(pair, "=")
		if !ok || k == "" {
			return nil, types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("CNI_ARGS has %q, which is not KEY=VALUE", pair), "")
		}
		args = append(args, [2]string{k, v})
	}
	return args, nil
}

// respond turns the outcome of a command into what the runtime is told, in the CNI version of its configuration.
func respond(version string, result types.Result, err error) Response {
	if err != nil {
		return Response{Error: cniError(err)}
	}
	if result == nil {
		return Response{}
	}
	result, err = result.GetAsVersion(version)
	if err != nil {
		return Response{Error: types.NewError(types.ErrIncompatibleCNIVersion, "cannot give the result in CNI version "+version, err.Error())}
	}
	var b bytes.Buffer
	if err := result.PrintTo(&b); err != nil {
		return Response{Error: types.NewError(types.ErrInternal, "cannot encode the result", err.Error())}
	}
	return Response{Result: b.Bytes()}
}

// cniError keeps the code of a plugin's own error and the text of everything that was wrapped around it.
func cniError(err error) *types.Error {
	if e, ok := errors.AsType[*types.Error](err); ok {
		if e.Error() == err.Error() {
			return e
		}
		return types.NewError(e.Code, err.Error(), "")
	}
	return types.NewError(types.ErrInternal, err.Error(), "")
}
