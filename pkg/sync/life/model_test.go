package life_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// world is what outlives the agent: the runtime, the file systems and the record on disk. It judges every effect.
type world struct {
	rng   *rand.Rand
	now   time.Time
	pod   *v1.Pod
	told  time.Time // when the runtime last told of a change
	disk  pod.Record
	known pod.Record // what the agent would write
	full  bool       // the disk is: the record was not written
	boxes []*box     // newest first
	cons  []*con     // newest first

	mounts      map[string]pod.Mount
	cgroup, dir bool
	serial      int
	failures    int // that may still be injected
	crashes     int // of processes that may still be injected

	runs    map[string]uint32 // by container name: attempts that have run
	inits   map[string]bool   // sandbox/container: ended well
	owed    map[string]bool   // by container name: its end asks for a restart of all
	last    map[string]bool   // by container name: the run that ended was the last one
	restart *pod.Restart      // of all containers, as last seen
	waits   map[string]wait   // by container name: the back-off of its last restart
	hooked  map[string]bool   // sandbox/container: its postStart hook was done
	verdict *pod.Verdict      // first one seen on disk
	phase   v1.PodPhase       // last terminal one
	counts  map[string]int32  // restart counts as reported
	broken  []string          // invariants that do not hold
	log     []string          // what happened, for a failed seed
	tracing bool
	script  bool // nothing happens by itself
}

// wait is what a container's last run leaves for its next one.
type wait struct {
	ran      bool
	start    time.Time
	end      time.Time
	restarts int           // since a long run or a change
	changed  bool          // its specification, since
	backoff  time.Duration // before the last start
}

type box struct {
	pod.Sandbox
	network bool
}

type con struct {
	pod.Container
	code      int32
	exitAt    time.Time // zero: never by itself
	sickAt    time.Time // liveness fails from then on; zero: never
	startupAt time.Time // its startup probe succeeds
	stubborn  bool      // ignores SIGTERM
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld(seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 42))
	w := &world{
		rng: rng, now: epoch, mounts: map[string]pod.Mount{}, runs: map[string]uint32{}, inits: map[string]bool{},
		hooked: map[string]bool{}, waits: map[string]wait{}, counts: map[string]int32{}, last: map[string]bool{}, owed: map[string]bool{}, failures: rng.IntN(8), crashes: rng.IntN(6),
	}
	w.pod = randomPod(rng)
	return w
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

// happens is chance in a world where things happen by themselves.
func (w *world) happens(percent int) bool { return !w.script && w.chance(percent) }

func (w *world) seconds(upTo int) time.Duration {
	return time.Duration(1+w.rng.IntN(upTo*1000)) * time.Millisecond
}

func (w *world) fault(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
	w.trace("BROKEN "+format, args...)
}

func (w *world) trace(format string, args ...any) {
	if w.tracing {
		w.log = append(w.log, fmt.Sprintf("%9.3f ", w.now.Sub(epoch).Seconds())+fmt.Sprintf(format, args...))
	}
}

func randomPod(rng *rand.Rand) *v1.Pod {
	policies := []v1.RestartPolicy{v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever}
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u", Generation: 1}}
	p.Spec.RestartPolicy = policies[rng.IntN(len(policies))]
	p.Spec.TerminationGracePeriodSeconds = new(int64(rng.IntN(31)))
	if rng.IntN(10) == 0 {
		p.Spec.ActiveDeadlineSeconds = new(int64(1 + rng.IntN(120)))
	}
	for i := range rng.IntN(3) {
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: fmt.Sprint("v", i)})
	}
	container := func(name string, life int) v1.Container {
		c := v1.Container{Name: name, Image: "i-" + name}
		for _, v := range p.Spec.Volumes {
			if rng.IntN(2) == 0 {
				c.VolumeMounts = append(c.VolumeMounts, v1.VolumeMount{Name: v.Name})
			}
		}
		if rng.IntN(6) == 0 {
			c.RestartPolicy = new([]v1.ContainerRestartPolicy{
				v1.ContainerRestartPolicyNever, v1.ContainerRestartPolicyOnFailure, v1.ContainerRestartPolicyAlways,
			}[rng.IntN(2+life)])
			c.RestartPolicyRules = randomRules(rng)
		}
		if life == 0 {
			return c
		}
		c.Lifecycle = &v1.Lifecycle{}
		if rng.IntN(4) == 0 {
			c.Lifecycle.PostStart = &v1.LifecycleHandler{Exec: &v1.ExecAction{}}
		}
		if rng.IntN(4) == 0 {
			c.Lifecycle.PreStop = &v1.LifecycleHandler{Exec: &v1.ExecAction{}}
		}
		if rng.IntN(4) == 0 {
			c.StartupProbe = &v1.Probe{}
		}
		if rng.IntN(4) == 0 {
			c.LivenessProbe = &v1.Probe{TerminationGracePeriodSeconds: new(int64(rng.IntN(10)))}
		}
		return c
	}
	for i := range rng.IntN(4) {
		if rng.IntN(2) == 0 {
			p.Spec.InitContainers = append(p.Spec.InitContainers, container(fmt.Sprint("init", i), 0))
			continue
		}
		c := container(fmt.Sprint("side", i), 1)
		c.RestartPolicy = new(v1.ContainerRestartPolicyAlways)
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	for i := range 1 + rng.IntN(3) {
		p.Spec.Containers = append(p.Spec.Containers, container(fmt.Sprint("main", i), 1))
	}
	if rng.IntN(8) == 0 {
		debug := container("debug", 0)
		debug.RestartPolicy, debug.RestartPolicyRules = nil, nil
		p.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon(debug)}}
	}
	return p
}

// randomRules are restart rules for the exit codes that containers of the model have.
func randomRules(rng *rand.Rand) []v1.ContainerRestartRule {
	var rules []v1.ContainerRestartRule
	for code := range int32(rng.IntN(4)) {
		rule := v1.ContainerRestartRule{
			Action:    v1.ContainerRestartRuleActionRestart,
			ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: v1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{code + 1}},
		}
		if rng.IntN(2) == 0 {
			rule.Action = v1.ContainerRestartRuleActionRestartAllContainers
		}
		rules = append(rules, rule)
	}
	return rules
}

// restartsAll reports whether an exit code of a container restarts all of the pod.
func (w *world) restartsAll(name string, code int32) bool {
	c, _ := pod.SpecOf(w.pod, name)
	for _, r := range c.RestartPolicyRules {
		if slices.Contains(r.ExitCodes.Values, code) {
			return r.Action == v1.ContainerRestartRuleActionRestartAllContainers
		}
	}
	return false
}

// runsAgain is what the specification says of a container that has ended by itself.
func (w *world) runsAgain(name string, code int32) bool {
	c, role := pod.SpecOf(w.pod, name)
	for _, r := range c.RestartPolicyRules {
		if slices.Contains(r.ExitCodes.Values, code) {
			return true
		}
	}
	policy := v1.ContainerRestartPolicy(w.pod.Spec.RestartPolicy)
	if c.RestartPolicy != nil {
		policy = *c.RestartPolicy
	}
	switch {
	case role == pod.Ephemeral || policy == v1.ContainerRestartPolicyNever:
		return false
	case role == pod.Init || policy == v1.ContainerRestartPolicyOnFailure:
		return code != 0 || role == pod.Sidecar
	}
	return true
}

// observe is a look at the world; it shares nothing with it.
func (w *world) observe() pod.Observed {
	o := pod.Observed{Cgroup: w.cgroup, Dir: w.dir, Mounts: maps.Clone(w.mounts)}
	for _, b := range w.boxes {
		o.Sandboxes = append(o.Sandboxes, b.Sandbox)
	}
	for _, c := range w.cons {
		o.Containers = append(o.Containers, c.Container)
	}
	slices.SortStableFunc(o.Containers, func(a, b pod.Container) int {
		if a.Name == b.Name {
			return int(b.Attempt) - int(a.Attempt)
		}
		return 0
	})
	return o
}

func (w *world) box(id string) *box {
	for _, b := range w.boxes {
		if b.ID == id {
			return b
		}
	}
	return nil
}

func (w *world) con(id string) *con {
	for _, c := range w.cons {
		if c.ID == id {
			return c
		}
	}
	return nil
}

func (w *world) alive(sandbox string) bool {
	return slices.ContainsFunc(w.cons, func(c *con) bool {
		return c.State == pod.ContainerRunning && (sandbox == "" || c.SandboxID == sandbox)
	})
}

func (w *world) id(kind string) string {
	w.serial++
	return fmt.Sprint(kind, w.serial)
}

// createBox is the effect of a SandboxCreate.
func (w *world) createBox(a plan.Action, ready bool) {
	for _, b := range w.boxes {
		if b.Ready || b.network {
			w.fault("a sandbox is created while %s still stands", b.ID)
		}
		if b.Attempt == a.Attempt {
			w.fault("a second sandbox has attempt %d", a.Attempt)
		}
	}
	if !w.cgroup {
		w.fault("a sandbox is created without the pod's cgroup")
	}
	b := &box{network: true, Sandbox: pod.Sandbox{ID: w.id("s"), Attempt: a.Attempt, Ready: ready, CreatedAt: w.now, IPs: []string{"10.0.0.1"}}}
	w.boxes = append([]*box{b}, w.boxes...)
}

// createContainer is the first half of a ContainerStart.
func (w *world) createContainer(a plan.Action) *con {
	c, role := pod.SpecOf(w.pod, a.Name)
	if len(w.boxes) == 0 || !w.boxes[0].Ready {
		w.fault("%s is created without a sandbox", a.Name)
		return nil
	}
	for _, other := range w.cons {
		if other.Name == a.Name && other.Attempt == a.Attempt {
			w.fault("%s is created twice as attempt %d", a.Name, a.Attempt)
		}
	}
	w.checkOrder(a.Name, role)
	if a.Attempt != w.runs[a.Name] {
		w.fault("%s is created as attempt %d after %d runs", a.Name, a.Attempt, w.runs[a.Name])
	}
	if n := w.disk.Attempts[a.Name]; n <= a.Attempt {
		w.fault("%s is created as attempt %d, and the record knows of %d", a.Name, a.Attempt, n)
	}
	n := &con{Container: pod.Container{
		ID: w.id("c"), Name: a.Name, SandboxID: w.boxes[0].ID, Attempt: a.Attempt, Hash: pod.ContainerHash(c),
		State: pod.ContainerCreated, CreatedAt: w.now, Resources: given(c),
	}}
	w.cons = append([]*con{n}, w.cons...)
	return n
}

// checkOrder holds a creation to the order of a pod's life: init containers before it have ended well in this sandbox,
// and the postStart hooks of the sidecars before it are done.
func (w *world) checkOrder(name string, role pod.Role) {
	if role == pod.Ephemeral {
		return
	}
	for before, c := range pod.Spec(w.pod) {
		here := w.boxes[0].ID + "/" + c.Name
		switch {
		case c.Name == name:
			return
		case before == pod.Init && !w.inits[here]:
			w.fault("%s is created before %s has ended well", name, c.Name)
		case before == pod.Sidecar && c.Lifecycle != nil && c.Lifecycle.PostStart != nil && !w.hooked[here]:
			w.fault("%s is created before the hook of %s is done", name, c.Name)
		}
	}
}

// startContainer is the second half of a ContainerStart.
func (w *world) startContainer(c *con) {
	spec, role := pod.SpecOf(w.pod, c.Name)
	for _, other := range w.cons {
		if other.Name == c.Name && other.State == pod.ContainerRunning {
			w.fault("%s runs twice", c.Name)
		}
	}
	for _, m := range spec.VolumeMounts {
		if !w.mounts[m.Name].Ready {
			w.fault("%s starts without volume %s", c.Name, m.Name)
		}
	}
	if w.verdict != nil {
		w.fault("%s starts after the verdict", c.Name)
	}
	if b := w.box(c.SandboxID); b == nil || !b.Ready {
		w.fault("%s starts in a sandbox that is gone", c.Name)
	}
	w.checkWait(c.Name)
	if l := w.waits[c.Name]; c.Hash != pod.ContainerHash(spec) {
		l.changed = true // made from another specification: it is about to be replaced
		w.waits[c.Name] = l
	}
	if w.owed[c.Name] {
		w.fault("%s starts and all containers should", c.Name)
	}
	if n := w.runs[c.Name]; w.last[c.Name] && n > 1 && !w.script {
		w.fault("%s runs %d times and should have ended for good", c.Name, n)
	}
	c.State, c.StartedAt, c.startupAt = pod.ContainerRunning, w.now, w.now.Add(w.seconds(5))
	c.stubborn = w.chance(20)
	w.fate(c, spec, role)
}

// checkWait holds a run to the CrashLoopBackOff that kubelets are known for: none at first, then 10 s doubling to 300 s
// after the last exit, starting over after a run of 10 minutes.
func (w *world) checkWait(name string) {
	w.runs[name]++
	l := w.waits[name]
	if l.ran {
		long := !l.start.IsZero() && l.end.Sub(l.start) >= 10*time.Minute
		switch {
		case long || l.changed || l.restarts == 0:
			l.restarts, l.backoff = 0, 0
		case l.restarts == 1:
			l.backoff = 10 * time.Second
		default:
			l.backoff = min(2*l.backoff, 300*time.Second)
		}
		l.restarts++
		end := l.end
		if c, _ := pod.SpecOf(w.pod, name); len(c.RestartPolicyRules) > 0 {
			end = end.Truncate(time.Second) // it may be known from the status alone
		}
		if w.now.Sub(end) < l.backoff {
			w.fault("%s starts %s after its exit and should wait %s", name, w.now.Sub(l.end), l.backoff)
		}
	}
	l.ran, l.start, l.end, l.changed = true, w.now, time.Time{}, false
	w.waits[name] = l
}

func (w *world) ended(name string, started bool) {
	l := w.waits[name]
	l.end = w.now
	if !started {
		l.start = time.Time{}
	}
	w.waits[name] = l
}

// fate decides how long a container runs, and how it ends.
func (w *world) fate(c *con, spec *v1.Container, role pod.Role) {
	if w.script {
		return
	}
	dies := w.crashes > 0 && w.chance(50)
	if dies {
		w.crashes--
		c.code, c.exitAt = int32(1+w.rng.IntN(3)), w.now.Add(w.seconds(20))
	}
	switch {
	case dies && role != pod.Sidecar && w.chance(10):
		c.exitAt = w.now.Add(11 * time.Minute)
	case dies:
	case role == pod.Init || role == pod.Ephemeral || role == pod.Main && !w.forever(spec):
		c.exitAt = w.now.Add(w.seconds(20))
	case spec.LivenessProbe != nil && w.crashes > 0:
		w.crashes--
		c.sickAt = w.now.Add(w.seconds(30))
	}
}

// forever reports whether a container runs for as long as its pod, as a service does.
func (w *world) forever(c *v1.Container) bool {
	if c.RestartPolicy != nil {
		return *c.RestartPolicy == v1.ContainerRestartPolicyAlways
	}
	return w.pod.Spec.RestartPolicy == v1.RestartPolicyAlways
}

// kill ends a container, by itself or because it was stopped or lost.
func (w *world) kill(c *con, code int32, byItself bool) {
	w.told = w.now
	if c.State != pod.ContainerRunning {
		return
	}
	c.State, c.ExitCode, c.FinishedAt = pod.ContainerExited, code, w.now
	w.ended(c.Name, true)
	_, role := pod.SpecOf(w.pod, c.Name)
	decided := w.known.Attempts[c.Name] > c.Attempt+1 // it was being stopped, to run again
	w.owed[c.Name] = byItself && !decided && w.restartsAll(c.Name, code)
	w.last[c.Name] = byItself && !decided && role != pod.Init && !w.runsAgain(c.Name, code)
	w.trace("exit %s %s %d", c.Name, c.ID, code)
	if code == 0 {
		w.inits[c.SandboxID+"/"+c.Name] = true
	}
}

// loseBox ends the newest sandbox as a crash of its pause process, or a reboot, does.
func (w *world) loseBox() {
	w.told = w.now
	if len(w.boxes) == 0 || !w.boxes[0].Ready {
		return
	}
	b := w.boxes[0]
	w.trace("lose %s", b.ID)
	b.Ready = false
	for _, c := range w.cons {
		if c.SandboxID == b.ID && w.chance(70) {
			w.kill(c, 137, false)
		}
	}
}

// change gives a container another image.
func (w *world) change(name, image string) {
	w.trace("change %s", name)
	w.pod = w.pod.DeepCopy()
	c, _ := pod.SpecOf(w.pod, name)
	c.Image = image
	l := w.waits[name]
	l.changed = true
	w.waits[name] = l
}

// resize gives a container another CPU request; it may want to be started again for that.
func (w *world) resize(name string) {
	w.trace("resize %s", name)
	w.pod = w.pod.DeepCopy()
	w.pod.Generation++
	c, _ := pod.SpecOf(w.pod, name)
	c.Resources.Requests = v1.ResourceList{v1.ResourceCPU: *resource.NewMilliQuantity(int64(1+w.rng.IntN(9))*100, resource.DecimalSI)}
	if w.chance(50) {
		c.ResizePolicy = []v1.ContainerResizePolicy{{ResourceName: v1.ResourceCPU, RestartPolicy: v1.RestartContainer}}
	}
}

// given is what a runtime reports of a container that was made from a specification.
func given(c *v1.Container) *pod.Resources {
	return &pod.Resources{CPUShares: resources.ContainerCgroup(&v1.Pod{}, c.Resources, resources.CFS{}, resources.Capacity{}).CPUShares}
}

// resizePod is the effect of a PodResize, on the first so many containers.
func (w *world) resizePod(n int) {
	for _, c := range w.cons[:min(n, len(w.cons))] {
		spec, role := pod.SpecOf(w.pod, c.Name)
		if differs, restart := plan.Resized(w.pod, role, spec, c.Resources, resources.CFS{}); c.State == pod.ContainerRunning && differs && !restart {
			c.Resources = given(spec)
		}
	}
}

// changeable picks a container whose image a user may change while the pod runs, to some effect.
func (w *world) changeable() string {
	var names []string
	for role, c := range pod.Spec(w.pod) {
		if role == pod.Main || role == pod.Sidecar {
			names = append(names, c.Name)
		}
	}
	return names[w.rng.IntN(len(names))]
}

// debug adds an ephemeral container to the pod.
func (w *world) debug() {
	w.trace("debug")
	w.pod = w.pod.DeepCopy()
	w.pod.Spec.EphemeralContainers = append(w.pod.Spec.EphemeralContainers, v1.EphemeralContainer{
		EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "late", Image: "i-late"},
	})
}

// stopBox and those after it are the effects of teardown.
func (w *world) stopBox(id string) {
	if w.alive(id) {
		w.fault("sandbox %s is stopped while a container runs in it", id)
	}
	if b := w.box(id); b != nil {
		b.Ready, b.network = false, false
	}
}

func (w *world) removeBox(id string) {
	b := w.box(id)
	if b == nil {
		return
	}
	if b.network || b.Ready {
		w.fault("sandbox %s is removed with its network", id)
	}
	if slices.ContainsFunc(w.cons, func(c *con) bool { return c.SandboxID == id }) {
		w.fault("sandbox %s is removed with containers", id)
	}
	w.boxes = slices.DeleteFunc(w.boxes, func(b *box) bool { return b.ID == id })
}

func (w *world) removeContainer(id string) {
	if c := w.con(id); c != nil && c.State == pod.ContainerRunning {
		w.fault("%s is removed while it runs", c.Name)
	}
	w.cons = slices.DeleteFunc(w.cons, func(c *con) bool { return c.ID == id })
}

// refreshed is how long a volume is up to date.
const refreshed = time.Minute

// mount also says when the volume is due again; those of a script never are.
func (w *world) mount(name string) {
	m := pod.Mount{Ready: true}
	if !w.script {
		m.Due = w.now.Add(refreshed)
	}
	w.mounts[name] = m
}

func (w *world) refresh(name string) {
	m := w.mounts[name]
	if m.Ready && w.now.Before(m.Due) {
		w.fault("volume %s is refreshed, and is not due for %s", name, m.Due.Sub(w.now))
	}
	if m.Ready {
		m.Due = w.now.Add(refreshed)
		w.mounts[name] = m
	}
}

func (w *world) unmount(name string) {
	if w.alive("") {
		w.fault("volume %s is unmounted under a running container", name)
	}
	if w.disk.Verdict == nil && !w.full && len(w.pod.Spec.Containers) > 0 { // a full disk gets its space back
		w.fault("volume %s is unmounted before the verdict", name)
	}
	delete(w.mounts, name)
}

func (w *world) removeCgroup() {
	if w.alive("") || slices.ContainsFunc(w.boxes, func(b *box) bool { return b.Ready }) {
		w.fault("the cgroup is removed while something runs in it")
	}
	w.cgroup = false
}

func (w *world) removeDir() {
	if len(w.cons)+len(w.boxes)+len(w.mounts) > 0 || w.cgroup {
		w.fault("the directory is removed with %d containers, %d sandboxes, %d mounts", len(w.cons), len(w.boxes), len(w.mounts))
	}
	w.dir = false
}

// restarted follows a restart of all containers: everything that was done in the sandbox is to be done again, and no
// container but the one that asked waits for its next run.
func (w *world) restarted(r *pod.Restart) {
	begins, ends := r != nil && w.restart == nil, r == nil && w.restart != nil && w.disk.Stop == nil
	if begins {
		w.trace("restart all for %s", r.By)
		clear(w.owed)
		w.restart = r
	}
	if begins || ends {
		for role, c := range pod.Spec(w.pod) {
			if l := w.waits[c.Name]; role != pod.Ephemeral {
				w.last[c.Name] = false
				l.changed = l.changed || c.Name != w.restart.By
				w.waits[c.Name] = l
			}
		}
	}
	if ends {
		clear(w.inits)
		clear(w.hooked)
		for _, c := range w.cons {
			if _, role := pod.SpecOf(w.pod, c.Name); role != pod.Ephemeral {
				w.fault("%s of before the restart of all is still there", c.Name)
			}
		}
	}
	w.restart = r
}
