package e2e

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain lets three of the tests that wait more than they work run at once, unless -parallel says otherwise.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "3"); err != nil {
		fmt.Fprintln(os.Stderr, "cannot set how many tests run at once:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
