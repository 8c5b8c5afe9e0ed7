package volumes

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

func TestRefresh_IsDueEachMinuteAndAtOnceAfterAChange(t *testing.T) {
	n := newNode(t)
	now := time.Now()
	n.cfg.Now = func() time.Time { return now }
	n.objs.configMaps = map[string]*v1.ConfigMap{"conf": {Data: map[string]string{"a": "1"}}}
	p := podWith(map[string]v1.VolumeSource{
		"v": {ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "conf"}}}, "work": {EmptyDir: &v1.EmptyDirVolumeSource{}},
	})
	n.mustMount(p, "v")
	n.mustMount(p, "work")
	due := func() (time.Duration, uint32) {
		t.Helper()
		mounts, err := n.Observe(p.UID)
		if err != nil {
			t.Fatal(err)
		}
		if d := mounts["work"].Due; !d.IsZero() {
			t.Errorf("an emptyDir is due at %s", d)
		}
		return mounts["v"].Due.Sub(now), mounts["v"].Turn
	}
	if in, _ := due(); in != refreshEvery {
		t.Errorf("a volume that was mounted is due in %s", in)
	}
	now = now.Add(10 * time.Second)
	n.Changed(p.UID)
	in, turn := due()
	if in != 0 {
		t.Errorf("after a change it is due in %s", in)
	}
	n.objs.configMaps["conf"] = &v1.ConfigMap{Data: map[string]string{"a": "2"}}
	if err := n.Refresh(t.Context(), p, "v"); err != nil {
		t.Fatal(err)
	}
	if in, after := due(); in != refreshEvery || after != turn {
		t.Errorf("once refreshed, it is due in %s, turn %d after %d", in, after, turn)
	}
	// A change during a refresh counts: what was read may be older.
	l, err := n.ledger(p.UID, false)
	if err != nil {
		t.Fatal(err)
	}
	began := l.turn("v")
	n.Changed(p.UID)
	l.refreshed("v", began, now)
	if in, after := due(); in != 0 || after == turn {
		t.Errorf("a change during a refresh: due in %s, turn %d after %d", in, after, turn)
	}
	n.restart()
	n.cfg.Now = func() time.Time { return now }
	if in, _ := due(); in < 0 || in > refreshEvery {
		t.Errorf("after a restart of the agent it is due in %s", in)
	}
	n.mustRemove(p)
}
