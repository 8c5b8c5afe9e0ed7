package loop

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPulse_IsLostAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pulse
		if p.Health() == nil {
			t.Error("it is healthy before it has begun")
		}
		p.Beat()
		time.Sleep(beatLost)
		if err := p.Health(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if p.Health() == nil {
			t.Error("it is healthy without a beat")
		}
		p.Beat()
		if err := p.Health(); err != nil {
			t.Error(err)
		}
	})
}
