package main

import (
	"fmt"
	"os"
)

func main() {
	lines, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "exports:", err)
		os.Exit(2)
	}
	for _, l := range lines {
		fmt.Println("error:", l, "is exported, and no other package uses it")
	}
	if len(lines) > 0 {
		os.Exit(1)
	}
}

func run() ([]string, error) {
	units, err := load(".")
	if err != nil {
		return nil, err
	}
	return unused(units), nil
}
