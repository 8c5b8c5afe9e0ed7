package cri

import (
	"errors"
	"fmt"
	"slices"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// errIncomplete is the error of an answer that lacks what CRI requires. Whatever passes the client has it.
var errIncomplete = errors.New("the container runtime's answer is incomplete")

// lacks names what is missing of an answer in one of the places that are used without a look; "" when it is complete. An
// image that is not there is complete: CRI says so with an empty answer.
func lacks(answer any) string {
	switch r := answer.(type) {
	case *runtimeapi.VersionResponse:
		return unless(r.RuntimeName != "" && r.RuntimeVersion != "" && r.RuntimeApiVersion != "", "no name or version")
	case *runtimeapi.RunPodSandboxResponse:
		return unless(r.PodSandboxId != "", "no sandbox ID")
	case *runtimeapi.PodSandboxStatusResponse:
		return lackOf(r.Status != nil, r.Status.GetId(), r.Status.GetMetadata().GetUid())
	case *runtimeapi.CreateContainerResponse:
		return unless(r.ContainerId != "", "no container ID")
	case *runtimeapi.ContainerStatusResponse:
		return lackOf(r.Status != nil, r.Status.GetId(), r.Status.GetMetadata().GetName())
	case *runtimeapi.ExecResponse:
		return unless(r.Url != "", "no URL")
	case *runtimeapi.AttachResponse:
		return unless(r.Url != "", "no URL")
	case *runtimeapi.PortForwardResponse:
		return unless(r.Url != "", "no URL")
	case *runtimeapi.ImageStatusResponse:
		return unless(r.Image == nil || r.Image.Id != "", "an image without an ID")
	case *runtimeapi.PullImageResponse:
		return unless(r.ImageRef != "", "no image reference")
	}
	return ""
}

func unless(ok bool, lack string) string {
	if ok {
		return ""
	}
	return lack
}

func lackOf(status bool, id, metadata string) string {
	switch {
	case !status:
		return "no status"
	case id == "":
		return "a status without an ID"
	case metadata == "":
		return "a status without metadata"
	}
	return ""
}

// incomplete is the error of an answer.
func (o operation) incomplete(lack string) error {
	return fmt.Errorf("cannot %s: %w", o.what, &failure{kind: errIncomplete, text: "the container runtime answered with " + lack})
}

// ofPod returns a list of one pod's, which fails with an entry that has no ID: half a look would be taken for the truth.
// Uid is empty for the list of all pods, which must not fail for one of them: it leaves such an entry out, which nothing can be
// asked or done about.
func ofPod[T any](o operation, uid string, list []T, id func(T) string) ([]T, error) {
	all := len(list)
	list = slices.DeleteFunc(list, func(e T) bool { return id(e) == "" })
	if uid != "" && len(list) < all {
		return nil, o.incomplete("an entry without an ID")
	}
	return list, nil
}

// measured leaves out usage that names no container: there is nobody to count it for.
func measured(list []*runtimeapi.ContainerStats) []*runtimeapi.ContainerStats {
	return slices.DeleteFunc(list, func(s *runtimeapi.ContainerStats) bool {
		return s.GetAttributes().GetId() == "" || s.GetAttributes().GetMetadata().GetName() == ""
	})
}
