package act

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

func TestWorthTelling_IsAnErrorThatRepeatsItselfEachDoubling(t *testing.T) {
	all := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}
	for name, c := range map[string]struct {
		class string
		text  func(n int) string
		want  []int
	}{
		"of this node":          {pod.NodeLacks, func(int) string { return "no such directory" }, []int{1, 2, 4, 8, 16}},
		"of a container":        {pod.CreateContainerConfigError, func(int) string { return "no such key" }, []int{1, 2, 4, 8, 16}},
		"that differs":          {pod.NodeLacks, func(n int) string { return fmt.Sprint("no ", n) }, all},
		"that waits for longer": {pod.CreateContainerError, func(int) string { return "no runtime" }, all},
		"that takes a moment":   {pod.NotAttached, func(int) string { return "not attached" }, all[5:]},
		"of no class":           {"", func(int) string { return "no driver" }, all},
	} {
		t.Run(name, func(t *testing.T) {
			var told []int
			var before pod.Failure
			for n := range len(all) {
				err := fmt.Errorf("MountVolume.SetUp failed : %w", &pod.Error{Class: c.class, Err: errors.New(c.text(n))})
				if worthTelling(before, err) {
					told = append(told, n+1)
				}
				before.Count, before.Text = n+1, err.Error()
			}
			if !slices.Equal(told, c.want) {
				t.Errorf("told of %v, want %v", told, c.want)
			}
		})
	}
}
