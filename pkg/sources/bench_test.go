package sources

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// manyFiles writes n pods of three containers, a file each.
func manyFiles(b *testing.B, n int) string {
	b.Helper()
	dir := b.TempDir()
	for i := range n {
		path := filepath.Join(dir, fmt.Sprintf("%04d.yaml", i))
		old := time.Now().Add(-time.Hour)
		if err := errors.Join(os.WriteFile(path, []byte(largerPod(i, "x")), 0o600), os.Chtimes(path, old, old)); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

func largerPod(i int, image string) string {
	text := fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p%d\n  labels: {app: a, tier: b}\nspec:\n  containers:\n", i)
	for j := range 3 {
		text += fmt.Sprintf(`  - name: c%d
    image: %s
    command: [sleep, "3600"]
    env: [{name: A, value: b}, {name: C, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 32Mi}}
    livenessProbe: {httpGet: {path: /healthz, port: 8080}}
    volumeMounts: [{name: data, mountPath: /data}]
`, j, image)
	}
	return text + "  volumes: [{name: data, emptyDir: {}}]\n"
}

// BenchmarkFiles_StartsWithAThousandFiles is from nothing to the first set of 1,000 pods; heap-MiB is what they keep.
func BenchmarkFiles_StartsWithAThousandFiles(b *testing.B) {
	dir := manyFiles(b, 1000)
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		ctx, cancel := context.WithCancel(b.Context())
		var last Update
		Files{Path: dir, Node: "n", Log: slog.New(slog.DiscardHandler)}.Run(ctx, func(u Update) {
			last = u
			cancel()
		})
		runtime.GC()
		runtime.ReadMemStats(&after)
		if len(last.Pods) != 1000 {
			b.Fatalf("%d pods", len(last.Pods))
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "heap-MiB")
}

// BenchmarkFiles_ChangesOneOfAThousand is from a written file to the set with its change, and that set merged.
func BenchmarkFiles_ChangesOneOfAThousand(b *testing.B) {
	dir := manyFiles(b, 1000)
	updates := make(chan Update, 1)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(b.Context())
	go func() {
		defer close(done)
		Files{Path: dir, Node: "n", Log: slog.New(slog.DiscardHandler)}.Run(ctx, func(u Update) { updates <- u })
	}()
	old := Merge(<-updates)
	for i := 0; b.Loop(); i++ {
		if err := os.WriteFile(filepath.Join(dir, "0500.yaml"), []byte(largerPod(500, fmt.Sprint("v", i))), 0o600); err != nil {
			b.Fatal(err)
		}
		next := Merge(<-updates)
		fresh := 0
		for uid := range next.Pods {
			if _, ok := old.Pods[uid]; !ok {
				fresh++
			}
		}
		if fresh != 1 || len(next.Pods) != len(old.Pods) {
			b.Fatalf("%d of %d pods are new", fresh, len(next.Pods))
		}
		old = next
	}
	cancel()
	<-done
}
