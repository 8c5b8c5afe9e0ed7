package main

import (
	"fmt"
	"os"
	"slices"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	code, err := run(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(2)
	}
	os.Exit(code)
}

func run(root string) (int, error) {
	files, err := readTree(root)
	if err != nil {
		return 0, err
	}
	reasons, err := readExceptions(root + "/hack/lint/exceptions.txt")
	if err != nil {
		return 0, err
	}
	over, lines := budgets(files)
	used := map[string]bool{}
	for _, o := range over {
		if reason, ok := reasons[o.key()]; ok {
			used[o.key()] = true
			fmt.Printf("excused: %s (%s)\n", o, reason)
			continue
		}
		fmt.Printf("warning: %s\n", o)
	}
	errs := append(rules(files), ringErrors(rings, files)...)
	for key := range reasons {
		if !used[key] {
			errs = append(errs, "hack/lint/exceptions.txt: "+key+" is within its budget now: remove the line")
		}
	}
	slices.Sort(errs)
	for _, e := range errs {
		fmt.Println("error:", e)
	}
	for _, r := range rings {
		fmt.Printf("%s: %d lines, ceiling %d, goal %d\n", r.name, r.lines(files), r.ceiling, r.goal)
	}
	fmt.Printf("lint: %d lines of product in %d files, %d errors, %d over budget\n", lines, len(files), len(errs), len(over)-len(used))
	if len(errs) > 0 {
		return 1, nil
	}
	return 0, nil
}
