package main

import (
	"fmt"
	"slices"
	"strings"
)

// ring is a part of the product whose lines, without tests, only go down. The ceiling is what it has today; a commit that
// lowers the lines lowers the ceiling. The goal is where it shall arrive.
type ring struct {
	name          string
	families      []string // directories of pkg; none: all of the product
	ceiling, goal int
}

var rings = []ring{
	{"the ring that runs pods", []string{
		"pod", "record", "sync", "status", "cri", "cni", "csi", "volumes", "images", "probes", "cgroups", "resources", "eviction",
		"stats", "logs",
	}, 24699, 25000},
	{"the whole product", nil, 48139, 40500},
}

// slack is by how many lines a ceiling may be too high.
const slack = 50

func (r ring) has(pkg string) bool {
	if len(r.families) == 0 {
		return true
	}
	family, _, _ := strings.Cut(strings.TrimPrefix(pkg, "pkg/"), "/")
	return strings.HasPrefix(pkg, "pkg/") && slices.Contains(r.families, family)
}

func (r ring) lines(files []file) int {
	n := 0
	for _, f := range files {
		if r.has(f.pkg) {
			n += f.lines
		}
	}
	return n
}

// ringErrors returns the rings that grew, and those whose ceiling is too high by now.
func ringErrors(rings []ring, files []file) []string {
	var errs []string
	for _, r := range rings {
		switch n := r.lines(files); {
		case n > r.ceiling:
			errs = append(errs, fmt.Sprintf("%s has %d lines, %d more than its ceiling of %d: remove as many. "+
				"git diff --stat main -- cmd pkg ':!*_test.go' shows where they came from", r.name, n, n-r.ceiling, r.ceiling))
		case n < r.ceiling-slack:
			errs = append(errs, fmt.Sprintf("%s has %d lines, %d fewer than its ceiling: lower it to %d in hack/lint/rings.go",
				r.name, n, r.ceiling-n, n))
		}
	}
	return errs
}
