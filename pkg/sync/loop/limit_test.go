package loop

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

func TestLimit_LetsTheMostUrgentThroughFirst(t *testing.T) {
	l := NewLimit(1)
	var order []string
	turn := func(name string, critical bool, age int) turn {
		return turn{Critical: critical, Since: time.Unix(int64(age), 0), Granted: func() { order = append(order, name) }}
	}
	if !l.take("first", turn("first", false, 50)) {
		t.Fatal("the first pod did not get the free turn")
	}
	for _, p := range []struct {
		name     string
		critical bool
		age      int
	}{{"young", false, 30}, {"old", false, 10}, {"critical", true, 40}} {
		if l.take(types.UID(p.name), turn(p.name, p.critical, p.age)) {
			t.Errorf("%s got a turn beyond the limit", p.name)
		}
	}
	if !l.take("first", turn("first", false, 50)) {
		t.Error("the holder lost its turn by asking again")
	}
	for _, uid := range []types.UID{"first", "critical", "old", "young"} {
		l.release(uid)
	}
	if d := cmp.Diff([]string{"critical", "old", "young"}, order); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
}

func TestLimit_OneHungPodHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimit(1)
		granted := make(chan struct{}, 1)
		l.take("hung", turn{Granted: func() {}})
		if l.take("next", turn{Granted: func() { granted <- struct{}{} }}) {
			t.Fatal("two turns at once")
		}
		start := time.Now()
		<-granted
		if d := time.Since(start); d != turnLease {
			t.Errorf("the next pod waited %v, want %v", d, turnLease)
		}
		if !l.take("hung", turn{Granted: func() {}}) {
			t.Error("the hung pod lost the turn that it is using")
		}
		l.release("hung")
		l.release("next")
	})
}

func TestLimit_AWithdrawnRequestTakesNoTurn(t *testing.T) {
	l := NewLimit(2)
	for i := range 4 {
		l.take(types.UID(fmt.Sprint(i)), turn{Since: time.Unix(int64(i), 0), Granted: func() {}})
	}
	l.release("2")
	l.release("0")
	if !l.take("3", turn{Granted: func() {}}) {
		t.Error("the free turn went to nobody")
	}
}

func TestLimit_HasACrowdFromTheFirstThatWaitsToTheLastThatIsThrough(t *testing.T) {
	l := NewLimit(1)
	var told []bool
	step := func(do func()) {
		before := l.Crowd()
		do()
		now := l.Crowd()
		told = append(told, now != nil)
		select {
		case <-before:
			if now == before {
				t.Error("a crowd that is over stays")
			}
		default:
			if before != nil && now != before {
				t.Error("the end of a crowd is not told")
			}
		}
	}
	take := func(uid types.UID) func() { return func() { l.take(uid, turn{Granted: func() {}}) } }
	release := func(uid types.UID) func() { return func() { l.release(uid) } }
	for _, do := range []func(){take("a"), take("b"), release("a"), release("b"), take("c"), release("c")} {
		step(do)
	}
	if d := cmp.Diff([]bool{false, true, true, false, false, false}, told); d != "" {
		t.Errorf("a crowd after each step (-want +got):\n%s", d)
	}
}
