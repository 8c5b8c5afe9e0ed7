package act

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
)

// neededClaim names a resource claim without whose devices the pod must not run; "" when it needs none. A claim is not needed
// when its template has come to none, which the status tells.
func neededClaim(p *v1.Pod) string {
	for _, c := range p.Spec.ResourceClaims {
		waived := c.ResourceClaimName == nil && slices.ContainsFunc(p.Status.ResourceClaimStatuses, func(s v1.PodResourceClaimStatus) bool {
			return s.Name == c.Name && s.ResourceClaimName == nil
		})
		if !waived {
			return c.Name
		}
	}
	if s := p.Status.ExtendedResourceClaimStatus; s != nil {
		return s.ResourceClaimName
	}
	return ""
}

// prepareClaims fails for a pod that needs a claim: nothing here hands out the devices.
func prepareClaims(p *v1.Pod) error {
	if claim := neededClaim(p); claim != "" {
		return fmt.Errorf("this node has no dynamic resource allocation, which resource claim %s of the pod needs: run the pod on another node", claim)
	}
	return nil
}
