package hostfs

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRemoveEncoded_TakesWhatKilledWritersLeft(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "note.json")
	if err := Encode(path, 1, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".new-123", ".other.json.123"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := RemoveEncoded(path); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != ".other.json.123" {
		t.Errorf("left: %v %v", left, err)
	}
}
