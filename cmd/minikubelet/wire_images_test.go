package main

import (
	"testing"

	"github.com/minikubelet/minikubelet/pkg/cri"
)

func TestImageVolumes_NeedContainerd21(t *testing.T) {
	for version, want := range map[cri.Version]bool{
		{Name: "containerd", Version: "1.6.20~ds1"}: false, {Name: "containerd", Version: "v2.0.9"}: false, {Name: "containerd", Version: "v2.1.0-rc.0"}: true,
		{Name: "containerd", Version: "v2.4.2"}: true, {Name: "containerd", Version: "built by hand"}: true, {Name: "cri-o", Version: "1.31.0"}: true,
	} {
		if got := imageVolumes(version); got != want {
			t.Errorf("imageVolumes(%s) = %v", version, got)
		}
	}
}

func TestTellsResources_IsContainerdsSince17(t *testing.T) {
	for version, want := range map[string]bool{"1.6.20~ds1": false, "v1.7.0": true, "v2.4.2": true} {
		if got := tellsResources(cri.Version{Name: "containerd", Version: version}); got != want {
			t.Errorf("tellsResources(%s) = %v", version, got)
		}
	}
}
