package main

import "testing"

func TestGoal_RestsOnWhatWasMeasured(t *testing.T) {
	r := row{name: "row", floor: "base"}
	floor, kubelet := figures{"base": 2}, figures{"row": 5}
	for name, tt := range map[string]struct {
		goal           goal
		floor, kubelet figures
		want           float64
		known          bool
	}{
		"none":                   {floor: floor, kubelet: kubelet},
		"a fixed figure":         {goal: goal{plus: 25}, want: 25, known: true},
		"of the floor":           {goal: goal{factor: 1.5, plus: 0.5}, floor: floor, want: 3.5, known: true},
		"of a floor not there":   {goal: goal{factor: 1.5, plus: 0.5}, kubelet: kubelet},
		"of the kubelet":         {goal: goal{factor: 0.5, kubelet: true}, floor: floor, kubelet: kubelet, want: 2.5, known: true},
		"of a kubelet not there": {goal: goal{factor: 0.5, kubelet: true}, floor: floor},
	} {
		got, known := tt.goal.known(tt.floor, tt.kubelet, r)
		if known != tt.known || known && got != tt.want {
			t.Errorf("%s: %v, %v, want %v, %v", name, got, known, tt.want, tt.known)
		}
	}
}

func TestRows_AreNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows {
		if seen[r.name] {
			t.Errorf("row %q stands twice", r.name)
		}
		seen[r.name] = true
	}
}
