package rules

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateScheduling validates what tells a scheduler where the pod may run. A static pod has been given its node; its
// required node affinity is held to this node's labels at admission.
func validateScheduling(s *v1.PodSpec, at *field.Path) field.ErrorList {
	errs := metavalidation.ValidateLabels(s.NodeSelector, at.Child("nodeSelector"))
	errs = append(errs, validateTolerations(s.Tolerations, at.Child("tolerations"))...)
	errs = append(errs, validateSpread(s.TopologySpreadConstraints, at.Child("topologySpreadConstraints"))...)
	a, here := s.Affinity, at.Child("affinity")
	if a == nil {
		return errs
	}
	if n := a.NodeAffinity; n != nil {
		errs = append(errs, validateNodeAffinity(n, here.Child("nodeAffinity"))...)
	}
	if p := a.PodAffinity; p != nil {
		errs = append(errs, validatePodTerms(p.RequiredDuringSchedulingIgnoredDuringExecution,
			p.PreferredDuringSchedulingIgnoredDuringExecution, here.Child("podAffinity"))...)
	}
	if p := a.PodAntiAffinity; p != nil {
		errs = append(errs, validatePodTerms(p.RequiredDuringSchedulingIgnoredDuringExecution,
			p.PreferredDuringSchedulingIgnoredDuringExecution, here.Child("podAntiAffinity"))...)
	}
	return errs
}

const (
	required  = "requiredDuringSchedulingIgnoredDuringExecution"
	preferred = "preferredDuringSchedulingIgnoredDuringExecution"
)

func validateTolerations(tolerations []v1.Toleration, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, t := range tolerations {
		here := at.Index(i)
		if t.Key != "" {
			errs = append(errs, metavalidation.ValidateLabelName(t.Key, here.Child("key"))...)
		} else if t.Operator != v1.TolerationOpExists {
			errs = append(errs, field.Invalid(here.Child("operator"), t.Operator, "must be Exists where key is empty, which means every taint"))
		}
		switch t.Operator {
		case v1.TolerationOpEqual, "":
			errs = append(errs, messages(here.Child("operator"), t.Value, validation.IsValidLabelValue(t.Value))...)
		case v1.TolerationOpExists:
			if t.Value != "" {
				errs = append(errs, field.Invalid(here.Child("operator"), t.Value, "excludes a value"))
			}
		default:
			errs = append(errs, field.NotSupported(here.Child("operator"), t.Operator, []v1.TolerationOperator{v1.TolerationOpEqual, v1.TolerationOpExists}))
		}
		if t.Effect != "" {
			errs = append(errs, oneOf(here.Child("effect"), t.Effect, v1.TaintEffectNoSchedule, v1.TaintEffectPreferNoSchedule, v1.TaintEffectNoExecute)...)
		}
		if t.TolerationSeconds != nil && t.Effect != v1.TaintEffectNoExecute {
			errs = append(errs, field.Invalid(here.Child("effect"), t.Effect, "must be NoExecute where tolerationSeconds is set"))
		}
	}
	return errs
}

func validateNodeAffinity(a *v1.NodeAffinity, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if r := a.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
		errs = append(errs, validateNodeSelector(r, at.Child(required))...)
	}
	for i, p := range a.PreferredDuringSchedulingIgnoredDuringExecution {
		here := at.Child(preferred).Index(i)
		errs = append(errs, validateWeight(p.Weight, here.Child("weight"))...)
		errs = append(errs, validateNodeTerm(p.Preference, false, here.Child("preference"))...)
	}
	return errs
}

func validateNodeSelector(s *v1.NodeSelector, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	terms := at.Child("nodeSelectorTerms")
	if len(s.NodeSelectorTerms) == 0 {
		errs = append(errs, field.Required(terms, "at least one"))
	}
	for i, t := range s.NodeSelectorTerms {
		errs = append(errs, validateNodeTerm(t, true, terms.Index(i))...)
	}
	return errs
}

// validateNodeTerm: only those that are required are held to the syntax of values.
func validateNodeTerm(t v1.NodeSelectorTerm, values bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, r := range t.MatchExpressions {
		here := at.Child("matchExpressions").Index(i)
		errs = append(errs, metavalidation.ValidateLabelName(r.Key, here.Child("key"))...)
		switch r.Operator {
		case v1.NodeSelectorOpIn, v1.NodeSelectorOpNotIn:
			if len(r.Values) == 0 {
				errs = append(errs, field.Required(here.Child("values"), "operators In and NotIn need them"))
			}
		case v1.NodeSelectorOpExists, v1.NodeSelectorOpDoesNotExist:
			if len(r.Values) > 0 {
				errs = append(errs, field.Forbidden(here.Child("values"), "operators Exists and DoesNotExist exclude them"))
			}
		case v1.NodeSelectorOpGt, v1.NodeSelectorOpLt:
			if len(r.Values) != 1 {
				errs = append(errs, field.Required(here.Child("values"), "operators Gt and Lt need one"))
			}
		default:
			errs = append(errs, field.NotSupported(here.Child("operator"), r.Operator, []v1.NodeSelectorOperator{v1.NodeSelectorOpIn,
				v1.NodeSelectorOpNotIn, v1.NodeSelectorOpExists, v1.NodeSelectorOpDoesNotExist, v1.NodeSelectorOpGt, v1.NodeSelectorOpLt}))
		}
		for j, v := range r.Values {
			if values {
				errs = append(errs, messages(here.Child("values").Index(j), v, validation.IsValidLabelValue(v))...)
			}
		}
	}
	for i, r := range t.MatchFields {
		here := at.Child("matchFields").Index(i)
		errs = append(errs, oneOf(here.Child("key"), r.Key, metav1.ObjectNameField)...)
		errs = append(errs, oneOf(here.Child("operator"), r.Operator, v1.NodeSelectorOpIn, v1.NodeSelectorOpNotIn)...)
		if len(r.Values) != 1 && slices.Contains([]v1.NodeSelectorOperator{v1.NodeSelectorOpIn, v1.NodeSelectorOpNotIn}, r.Operator) {
			errs = append(errs, field.Required(here.Child("values"), "exactly one"))
		}
		for j, v := range r.Values {
			errs = append(errs, messages(here.Child("values").Index(j), v, validation.IsDNS1123Subdomain(v))...)
		}
	}
	return errs
}

func validateWeight(weight int32, at *field.Path) field.ErrorList {
	if weight < 1 || weight > 100 {
		return field.ErrorList{field.Invalid(at, weight, "must be between 1 and 100")}
	}
	return nil
}

func validatePodTerms(must []v1.PodAffinityTerm, should []v1.WeightedPodAffinityTerm, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, t := range must {
		errs = append(errs, validatePodTerm(t, at.Child(required).Index(i))...)
	}
	for i, t := range should {
		here := at.Child(preferred).Index(i)
		errs = append(errs, validateWeight(t.Weight, here.Child("weight"))...)
		errs = append(errs, validatePodTerm(t.PodAffinityTerm, here.Child("podAffinityTerm"))...)
	}
	return errs
}

func validatePodTerm(t v1.PodAffinityTerm, at *field.Path) field.ErrorList {
	errs := validateSelector(t.LabelSelector, at.Child("labelSelector"))
	errs = append(errs, validateSelector(t.NamespaceSelector, at.Child("namespaceSelector"))...)
	for i, n := range t.Namespaces {
		errs = append(errs, messages(at.Child("namespaces").Index(i), n, validation.IsDNS1123Label(n))...)
	}
	return append(errs, metavalidation.ValidateLabelName(t.TopologyKey, at.Child("topologyKey"))...)
}

func validateSelector(s *metav1.LabelSelector, at *field.Path) field.ErrorList {
	return metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, at)
}

func validateSpread(constraints []v1.TopologySpreadConstraint, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, c := range constraints {
		here := at.Index(i)
		if c.MaxSkew <= 0 {
			errs = append(errs, field.Invalid(here.Child("maxSkew"), c.MaxSkew, "must be more than 0"))
		}
		if c.TopologyKey == "" {
			errs = append(errs, field.Required(here.Child("topologyKey"), ""))
		}
		errs = append(errs, oneOf(here.Child("whenUnsatisfiable"), c.WhenUnsatisfiable, v1.DoNotSchedule, v1.ScheduleAnyway)...)
		key := strings.Join([]string{c.TopologyKey, string(c.WhenUnsatisfiable)}, ", ")
		if seen[key] {
			errs = append(errs, field.Duplicate(here.Child("topologyKey"), key))
		}
		seen[key] = true
		if n := c.MinDomains; n != nil && (*n <= 0 || c.WhenUnsatisfiable != v1.DoNotSchedule) {
			errs = append(errs, field.Invalid(here.Child("minDomains"), *n, "must be more than 0, and whenUnsatisfiable: DoNotSchedule"))
		}
		for name, policy := range map[string]*v1.NodeInclusionPolicy{"nodeAffinityPolicy": c.NodeAffinityPolicy, "nodeTaintsPolicy": c.NodeTaintsPolicy} {
			if policy != nil {
				errs = append(errs, oneOf(here.Child(name), *policy, v1.NodeInclusionPolicyIgnore, v1.NodeInclusionPolicyHonor)...)
			}
		}
		errs = append(errs, validateSelector(c.LabelSelector, here.Child("labelSelector"))...)
	}
	return errs
}
