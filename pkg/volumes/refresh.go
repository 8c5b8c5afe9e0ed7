package volumes

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// refreshEvery is how often a volume is brought up to date though nobody says that anything has changed.
const refreshEvery = time.Minute

// refreshes reports whether what a volume is made from may change: the agent writes its files, or its driver wants to be
// asked for it again (CSIDriver.spec.requiresRepublish).
func (e entry) refreshes() bool {
	return e.Republish || slices.Contains([]string{kindConfigMap, kindSecret, kindDownwardAPI, kindProjected}, e.Kind)
}

// Changed makes the volumes of a pod due: an object that it names has changed. The pod's loop is woken by the caller.
func (v *Volumes) Changed(uid types.UID) {
	l, err := v.ledger(uid, false)
	if err != nil {
		return // which the pod's loop sees, too
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, e := range l.entries {
		if e.refreshes() {
			l.due[name] = due{at: v.cfg.Now(), turn: l.due[name].turn + 1}
		}
	}
}

// Refresh brings a volume up to date with what it is made from, and notes when it is due again: at once if Changed was
// called meanwhile. One whose objects cannot be read keeps its content.
func (v *Volumes) Refresh(ctx context.Context, p *v1.Pod, volume string) error {
	if err := v.refresh(ctx, p, volume); err != nil {
		return fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", volume, err)
	}
	return nil
}

func (v *Volumes) refresh(ctx context.Context, p *v1.Pod, volume string) error {
	l, err := v.ledger(p.UID, false)
	if err != nil {
		return err
	}
	release, err := l.hold(ctx, volume)
	if err != nil {
		return err
	}
	defer release()
	turn := l.turn(volume)
	if l.get(volume).State != ready {
		return nil
	}
	s, err := v.resolve(ctx, p, volume)
	if err != nil {
		return err
	}
	if err := s.run(ctx); err != nil { // which changes nothing that is as it should be
		return err
	}
	l.refreshed(volume, turn, v.cfg.Now())
	return nil
}

func (l *ledger) turn(volume string) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.due[volume].turn
}

// refreshed notes that a volume is as its objects were in a turn.
func (l *ledger) refreshed(volume string, turn uint32, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.due[volume].turn == turn {
		l.due[volume] = due{at: now.Add(refreshEvery), turn: turn}
	}
}
