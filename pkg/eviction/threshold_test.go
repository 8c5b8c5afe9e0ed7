package eviction

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
)

func quantity(s string) Value { q := resource.MustParse(s); return Value{Quantity: &q} }

func TestParse(t *testing.T) {
	got, err := Parse(Settings{
		Hard:            map[string]string{"nodefs.available": "10%", "memory.available": "100Mi", "pid.available": "0%"},
		Soft:            map[string]string{"memory.available": "200Mi"},
		SoftGracePeriod: map[string]string{"memory.available": "1m30s"},
		MinimumReclaim:  map[string]string{"nodefs.available": "1Gi"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Threshold{
		{Signal: memoryAvailable, Value: quantity("100Mi")},
		{Signal: memoryAvailable, Value: quantity("200Mi"), Soft: true, Grace: 90 * time.Second},
		{Signal: nodefsAvailable, Value: Value{Percent: 10}, Reclaim: quantity("1Gi")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, tc := range []struct {
		settings Settings
		err      string
	}{
		{Settings{Hard: map[string]string{"cpu.available": "1"}}, `evictionHard: eviction signal "cpu.available" is not supported`},
		{Settings{Hard: map[string]string{"memory.available": "lots"}}, `evictionHard[memory.available]: "lots" must be a quantity`},
		{Settings{Hard: map[string]string{"memory.available": "-1"}}, `evictionHard[memory.available]`},
		{Settings{Hard: map[string]string{"memory.available": "101%"}}, `must be a percentage`},
		{Settings{Soft: map[string]string{"memory.available": "1"}}, `evictionSoft[memory.available] needs a period`},
		{Settings{Soft: map[string]string{"memory.available": "1"}, SoftGracePeriod: map[string]string{"memory.available": "x"}}, `must be a duration`},
		{Settings{Hard: map[string]string{"memory.available": "1"}, MinimumReclaim: map[string]string{"memory.available": "x"}}, `evictionMinimumReclaim[memory.available]`},
	} {
		if _, err := Parse(tc.settings); err == nil || !strings.Contains(err.Error(), tc.err) {
			t.Errorf("error %v, want %s", err, tc.err)
		}
	}
}
