package yamldoc

import (
	"reflect"
	"slices"
	"strings"
)

// nearest returns the known field that a mistyped one most likely means, or "".
func nearest(name string, known map[string]reflect.Type) string {
	best, least := "", 3
	if len(name) < 5 {
		least = 2
	}
	for k := range known {
		switch d := distance(strings.ToLower(name), strings.ToLower(k), least+1); {
		case d < least, d == least && best != "" && k < best:
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap; limit or more means too many.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, last, row := []int(nil), []int(nil), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		if slices.Min(row) >= limit {
			return limit
		}
	}
	return row[len(b)]
}
