package compare

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// summary is what a node says of the use of its resources.
func (v *viewer) summary(query string) (s statsapi.Summary, err error) {
	a, err := v.root().ask(v, http.MethodGet, "/stats/summary"+query, "")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(a.body, &s)
}

// measured reports what of the pods the node has not measured twice yet.
func (v *viewer) measured() error {
	s, err := v.summary("")
	if err != nil {
		return err
	}
	for _, name := range []string{"burstable", "hostnet", "unready", "logs", "static-" + nodeName} {
		i := slices.IndexFunc(s.Pods, func(p statsapi.PodStats) bool { return p.PodRef.Name == name })
		if i < 0 {
			return fmt.Errorf("the summary lacks %s", name)
		}
		p := s.Pods[i]
		if p.CPU == nil || p.CPU.UsageNanoCores == nil || p.EphemeralStorage == nil {
			return fmt.Errorf("the summary lacks the CPU or the disk of %s", name)
		}
		for _, c := range p.Containers {
			if v.kubelet != "" && (c.CPU == nil || c.CPU.PSI == nil) {
				return fmt.Errorf("cAdvisor has not seen %s/%s yet", name, c.Name)
			}
			if c.Name != "init" && (c.CPU == nil || c.CPU.UsageNanoCores == nil || c.Rootfs == nil || c.Rootfs.UsedBytes == nil) {
				return fmt.Errorf("the summary lacks the CPU or the disk of %s/%s", name, c.Name)
			}
		}
		if len(p.VolumeStats) == 0 && name == "burstable" {
			return fmt.Errorf("the summary lacks the volumes of %s", name)
		}
	}
	return nil
}

// stats are the fields of the summary, whole and of CPU and memory alone; not what they say.
func (v *viewer) stats() (l Lines, err error) {
	for _, query := range []string{"", "?only_cpu_and_memory=true"} {
		a, err := v.root().ask(v, http.MethodGet, "/stats/summary"+query, "")
		if err != nil {
			return l, err
		}
		var raw struct {
			Node any
			Pods []map[string]any
		}
		if err := json.Unmarshal(a.body, &raw); err != nil {
			return l, err
		}
		l.addFields(query+" node", raw.Node)
		for _, p := range raw.Pods {
			ref, _ := p["podRef"].(map[string]any)
			l.addFields(fmt.Sprint(query, " ", ref["name"]), p)
		}
	}
	return l, nil
}

// addFields adds the paths of an object, and of its values those that are text.
func (l *Lines) addFields(what string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			l.addFields(what+"."+key, value)
		}
	case []any:
		for i, key := range keysOf(v) {
			l.addFields(what+"["+key+"]", v[i])
		}
	case string:
		l.add(what, v)
	default:
		l.add(what, "there")
	}
}
