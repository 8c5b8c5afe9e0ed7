package node

import (
	"fmt"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Reserved is what pods may not use: KubeletConfiguration's kubeReserved, systemReserved and evictionHard.
type Reserved struct {
	Kube, System v1.ResourceList
	EvictionHard map[string]string // signal to quantity or percentage: "memory.available": "100Mi"
}

// Allocatable is the capacity less what is reserved, never below zero. Memory that stands ready as huge pages is not
// allocatable as memory. A threshold that is no quantity is an error that names it.
func Allocatable(capacity v1.ResourceList, r Reserved) (v1.ResourceList, error) {
	reserve := func(name v1.ResourceName, signal string) (resource.Quantity, error) {
		var sum resource.Quantity
		sum.Add(r.Kube[name])
		sum.Add(r.System[name])
		total := capacity[name]
		t, err := threshold(r.EvictionHard[signal], total)
		if err != nil {
			return sum, fmt.Errorf("evictionHard: %s: %w", signal, err)
		}
		sum.Add(t)
		return sum, nil
	}
	out := make(v1.ResourceList, len(capacity))
	for name, total := range capacity {
		signal := ""
		switch name {
		case v1.ResourceMemory:
			signal = "memory.available"
		case v1.ResourceEphemeralStorage:
			signal = "nodefs.available"
		}
		held, err := reserve(name, signal)
		if err != nil {
			return nil, err
		}
		left := total.DeepCopy()
		left.Sub(held)
		if name == v1.ResourceMemory {
			for other, q := range capacity {
				if strings.HasPrefix(string(other), v1.ResourceHugePagesPrefix) {
					left.Sub(q)
				}
			}
		}
		if left.Sign() < 0 {
			left.Set(0)
		}
		out[name] = left
	}
	return out, nil
}

// threshold reads "100Mi" or "10%" of a total; empty is nothing.
func threshold(s string, total resource.Quantity) (resource.Quantity, error) {
	if s == "" {
		return resource.Quantity{}, nil
	}
	if percent, ok := strings.CutSuffix(s, "%"); ok {
		f, err := strconv.ParseFloat(percent, 64)
		if err != nil || f < 0 || f > 100 {
			return resource.Quantity{}, fmt.Errorf("%q is no percentage: write a number from 0%% to 100%%", s)
		}
		return *resource.NewQuantity(int64(float64(total.Value())*f/100), total.Format), nil
	}
	q, err := resource.ParseQuantity(s)
	if err != nil {
		return resource.Quantity{}, fmt.Errorf("%q is no quantity: write one like 100Mi or 10%%", s)
	}
	return q, nil
}
