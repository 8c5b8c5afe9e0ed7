package cri

import (
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestOldAppArmor(t *testing.T) {
	for want, p := range map[string]*runtimeapi.SecurityProfile{
		"":                nil,
		"runtime/default": {ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
		"unconfined":      {ProfileType: runtimeapi.SecurityProfile_Unconfined},
		"localhost/mine":  {ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: "mine"},
	} {
		if got := oldAppArmor(p); got != want {
			t.Errorf("%v: %q, want %q", p, got, want)
		}
	}
}
