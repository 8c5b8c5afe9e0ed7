package cri

import (
	"testing"
)

func TestVersion_MountsImagesSinceContainerd21(t *testing.T) {
	for version, want := range map[Version]bool{
		{Name: "containerd", Version: "1.6.20~ds1"}: false, {Name: "containerd", Version: "v2.0.9"}: false, {Name: "containerd", Version: "v2.1.0-rc.0"}: true,
		{Name: "containerd", Version: "v2.4.2"}: true, {Name: "containerd", Version: "built by hand"}: true, {Name: "cri-o", Version: "1.31.0"}: true,
	} {
		if got := version.MountsImages(); got != want {
			t.Errorf("%s: MountsImages() = %v", version, got)
		}
	}
}

func TestVersion_TellsResourcesSinceContainerd17(t *testing.T) {
	for version, want := range map[string]bool{"1.6.20~ds1": false, "v1.7.0": true, "v2.4.2": true} {
		if got := (Version{Name: "containerd", Version: version}).TellsResources(); got != want {
			t.Errorf("%s: TellsResources() = %v", version, got)
		}
	}
}

func TestVersion_IsReportedAsANumber(t *testing.T) {
	for version, want := range map[string]string{
		"v2.4.2": "containerd://2.4.2", "1.6.20~ds1": "containerd://1.6.20", "v2.1.0-rc.0": "containerd://2.1.0-rc.0", "by hand": "containerd://by hand",
	} {
		if got := (Version{Name: "containerd", Version: version}).String(); got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}
