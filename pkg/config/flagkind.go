package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// flagKind is a syntax of flags. Its text stands in the help.
type flagKind string

const (
	text     flagKind = "string"
	boolean  flagKind = "bool"
	number   flagKind = "int"
	duration flagKind = "duration"
	list     flagKind = "value,..."
	pairs    flagKind = "key=value,..."
	switches flagKind = "key=bool,..."
	limits   flagKind = "signal<value,..."
	headers  flagKind = "key:value,..."
	taints   flagKind = "key=value:effect,..."
)

func (k flagKind) isMap() bool { return k == pairs || k == switches || k == limits || k == headers }

// read returns a flag's value as JSON has it, added to what was given before where there may be many.
func (k flagKind) read(s string, before any) (any, error) {
	switch k {
	case boolean:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", s)
		}
		return b, nil
	case number:
		n, err := strconv.ParseInt(s, 0, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no whole number", s)
		}
		return n, nil
	case duration:
		d, err := time.ParseDuration(s)
		if err != nil {
			return nil, fmt.Errorf("%q is no duration: write 90s or 5m", s)
		}
		return d.String(), nil
	case list, taints:
		out, _ := before.([]any)
		if out == nil {
			out = []any{}
		}
		return k.items(slices.Clone(out), s)
	case text:
		return s, nil
	}
	out := map[string]any{}
	if m, ok := before.(map[string]any); ok {
		out = m
	}
	return out, k.entries(out, s)
}

func (k flagKind) items(out []any, s string) (any, error) {
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		switch {
		case part == "":
		case k == taints:
			t, err := taint(part)
			if err != nil {
				return nil, err
			}
			out = append(out, map[string]any{"key": t.Key, "value": t.Value, "effect": string(t.Effect)})
		default:
			out = append(out, part)
		}
	}
	return out, nil
}

func (k flagKind) entries(out map[string]any, s string) error {
	separator, example := "=", "key=value"
	switch k {
	case limits:
		separator, example = "<", "memory.available<100Mi"
	case headers:
		separator, example = ":", "Name:value"
	case switches:
		example = "Name=true"
	}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		key, value, ok := strings.Cut(part, separator)
		if !ok {
			return fmt.Errorf("%q has no %q: write %s", part, separator, example)
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch k {
		case switches:
			b, err := strconv.ParseBool(value)
			if err != nil {
				return fmt.Errorf("%q is neither true nor false: write %s", value, example)
			}
			out[key] = b
		case headers:
			old, _ := out[key].([]any)
			out[key] = append(old, value)
		default:
			out[key] = value
		}
	}
	return nil
}

func taint(s string) (v1.Taint, error) {
	body, effect, _ := strings.Cut(s, ":")
	key, value, _ := strings.Cut(body, "=")
	t := v1.Taint{Key: key, Value: value, Effect: v1.TaintEffect(effect)}
	if !validTaint(t) {
		return t, fmt.Errorf("%q is no taint: write key=value:effect, the effect one of NoSchedule, PreferNoSchedule, NoExecute", s)
	}
	return t, nil
}

func validTaint(t v1.Taint) bool {
	effects := []v1.TaintEffect{v1.TaintEffectNoSchedule, v1.TaintEffectPreferNoSchedule, v1.TaintEffectNoExecute}
	return len(validation.IsQualifiedName(t.Key)) == 0 && len(validation.IsValidLabelValue(t.Value)) == 0 && slices.Contains(effects, t.Effect)
}
