package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// mergeKeys are the lists of a pod's and a node's status that the API merges by a key (patchStrategy=merge in
// k8s.io/api/core/v1); every other list is replaced as a whole. For those that are this node's alone the merge is switched
// off, because two entries may share a key (addresses) or all must go at once.
var mergeKeys = map[string]struct {
	key     string
	replace bool
}{
	"conditions":            {key: "type"},
	"addresses":             {key: "type", replace: true},
	"podIPs":                {key: "ip", replace: true},
	"hostIPs":               {key: "ip", replace: true},
	"resourceClaimStatuses": {key: "name", replace: true},
}

// StatusPatch is the smallest strategic merge patch that makes a status "from" into "to"; nil when nothing differs. It
// applies only to the object with that UID, and conditions that neither value names are left to their owners.
func StatusPatch(uid types.UID, from, to any) ([]byte, error) {
	a, err := fields(from)
	if err != nil {
		return nil, err
	}
	b, err := fields(to)
	if err != nil {
		return nil, err
	}
	d := diff(a, b)
	if len(d) == 0 {
		return nil, nil
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid}, "status": d})
}

func fields(v any) (map[string]any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("cannot encode a status: %w", err)
	}
	out := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf("cannot encode a status: %w", err)
	}
	return out, nil
}

// diff is what must be merged into a to get b: null removes a field.
func diff(a, b map[string]any) map[string]any {
	out := map[string]any{}
	for name := range a {
		if _, ok := b[name]; !ok {
			out[name] = removal(name, a[name])
		}
	}
	for name, y := range b {
		x, had := a[name]
		if had && reflect.DeepEqual(x, y) {
			continue
		}
		xm, xok := x.(map[string]any)
		ym, yok := y.(map[string]any)
		yl, list := y.([]any)
		xl, _ := x.([]any)
		rule, merged := mergeKeys[name]
		switch {
		case xok && yok:
			out[name] = diff(xm, ym)
		case list && merged && rule.replace:
			out[name] = slices.Concat([]any{map[string]any{"$patch": "replace"}}, yl)
		case list && merged:
			out[name] = diffKeyed(xl, yl, rule.key)
		default:
			out[name] = y
		}
	}
	maps.DeleteFunc(out, func(_ string, v any) bool {
		l, ok := v.([]any)
		return ok && l == nil
	})
	return out
}

// removal takes a field away; of a list that is shared with others, only the entries that were ours.
func removal(name string, was any) any {
	l, ok := was.([]any)
	if rule, merged := mergeKeys[name]; ok && merged && !rule.replace {
		return diffKeyed(l, nil, rule.key)
	}
	return nil
}

// diffKeyed returns the entries of b that differ from a's of the same key, and a removal for each that only a has.
func diffKeyed(a, b []any, key string) []any {
	byKey := func(l []any) map[any]map[string]any {
		m := make(map[any]map[string]any, len(l))
		for _, e := range l {
			if o, ok := e.(map[string]any); ok {
				m[o[key]] = o
			}
		}
		return m
	}
	old, now := byKey(a), byKey(b)
	var out []any
	for _, e := range b {
		o, _ := e.(map[string]any)
		was := old[o[key]]
		if was == nil {
			out = append(out, o)
			continue
		}
		if d := diff(was, o); len(d) > 0 {
			d[key] = o[key]
			out = append(out, d)
		}
	}
	for _, e := range a {
		if o, ok := e.(map[string]any); ok && now[o[key]] == nil {
			out = append(out, map[string]any{"$patch": "delete", key: o[key]})
		}
	}
	return out
}
