package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const (
	churnKills = 100
	churnPods  = 30
	churnRest  = 25 // after so many kills the pods that come and go are taken away, and must leave nothing
	churnLife  = 900 * time.Millisecond
)

// TestCrash_AtRandomUnderChurn kills the agent at random while pods come and go, also while nobody looks. Three pods stay:
// they keep their containers and their counts, and no status ever says that they are not ready.
// MINIKUBELET_TEST_SEED repeats a run.
func TestCrash_AtRandomUnderChurn(t *testing.T) {
	n := newCrashNode(t)
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("MINIKUBELET_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("seed %d", seed)
	c := &churn{crashNode: n, rand: rand.New(rand.NewPCG(seed, seed)), stable: map[string]map[string]string{}, here: map[string]bool{}}
	n.a.Start()
	for _, name := range []string{"s0", "s1", "s2"} {
		n.add(name, crashPod)
	}
	var uids []string
	for _, name := range []string{"s0", "s1", "s2"} {
		testbed.Eventually(t, crashSoon, name+" runs", func() error { return n.up(name, nil) })
		c.stable[name] = n.ids(name)
		pods, err := n.pods()
		if err != nil {
			t.Fatal(err)
		}
		uids = append(uids, string(pods[name].UID))
	}
	n.a.Kill()
	for kill := range churnKills {
		c.life(kill)
		if (kill+1)%churnRest == 0 {
			c.rest(uids)
		}
	}
	n.a.Start()
	for name, ids := range c.stable {
		testbed.Eventually(t, crashSoon, name+" is as it was", func() error { return n.up(name, ids) })
		n.a.RemoveManifest(name + ".yaml")
	}
	testbed.Eventually(t, crashSoon, "nothing is left", func() error { return n.nothingLeft() })
	n.quiet()
}

// churn is a node on which pods come and go.
type churn struct {
	*crashNode
	rand   *rand.Rand
	stable map[string]map[string]string // container IDs by pod and container
	here   map[string]bool              // manifests of pods that come and go
}

// rest takes all pods away that come and go, and waits until they have left nothing.
func (c *churn) rest(stable []string) {
	c.t.Helper()
	c.a.Start()
	for name := range c.here {
		c.a.RemoveManifest(name + ".yaml")
	}
	clear(c.here)
	testbed.Eventually(c.t, 2*crashSoon, "the pods that came and went leave nothing", func() error { return c.nothingLeft(stable...) })
	c.a.Kill()
}

// life is one life of the agent: up to a second of churn, a kill, and more churn that no agent sees.
func (c *churn) life(number int) {
	c.t.Helper()
	c.a.Launch()
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	var flipped error
	watching.Go(func() { flipped = c.watch(ctx) })
	testbed.Consistently(c.t, time.Duration(c.rand.Int64N(int64(churnLife))), "the stable pods run", func() error {
		if c.rand.IntN(6) == 0 {
			c.toggle()
		}
		return c.steady()
	})
	c.a.Kill()
	cancel()
	watching.Wait()
	if flipped != nil {
		c.t.Errorf("in life %d of the agent: %v", number, flipped)
	}
	for range c.rand.IntN(3) {
		c.toggle()
	}
}

// toggle adds or removes one pod.
func (c *churn) toggle() {
	c.t.Helper()
	name := fmt.Sprintf("c%d", c.rand.IntN(churnPods))
	if c.here[name] {
		delete(c.here, name)
		c.a.RemoveManifest(name + ".yaml")
		return
	}
	c.here[name] = true
	c.add(name, crashPod)
}

// steady holds the runtime against the containers that the stable pods had at first.
func (c *churn) steady() error {
	c.t.Helper()
	all := c.containers()
	for name, ids := range c.stable {
		now := map[string]string{}
		for _, x := range all[name] {
			now[x.Metadata.Name] = x.Id
		}
		if !maps.Equal(now, ids) {
			return fmt.Errorf("the containers of %s are %v, were %v", name, now, ids)
		}
	}
	return nil
}

// watch follows the reported status until the agent dies, and returns the first that does a stable pod wrong.
func (c *churn) watch(ctx context.Context) error {
	var body *http.Response
	for ctx.Err() == nil && body == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/api/v1/pods?watch=true", nil)
		if err != nil {
			return err
		}
		body, _ = c.http.Do(req)
	}
	if body == nil {
		return nil // the agent died before it listened
	}
	defer body.Body.Close()
	dec := json.NewDecoder(bufio.NewReader(body.Body))
	for {
		var e struct {
			Type   string
			Object v1.Pod
		}
		if dec.Decode(&e) != nil {
			return nil
		}
		ids := c.stable[c.bare(e.Object.Name)]
		if ids == nil {
			continue
		}
		if e.Type == "DELETED" {
			return errors.New("a stable pod was deleted")
		}
		if err := reportsUp(&e.Object, ids, nil); err != nil {
			return fmt.Errorf("%s %s: %w", e.Type, e.Object.Name, err)
		}
	}
}
