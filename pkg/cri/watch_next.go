package cri

import "time"

// Periods of looking for what events did not tell.
const (
	relistWithEvents    = time.Minute // the safety net
	relistWithoutEvents = time.Second
	relistNudged        = 100 * time.Millisecond // shortest pause between lists that events without a pod's name ask for
	retryMin            = 100 * time.Millisecond // first pause after a list that failed; it doubles
	retryMax            = 5 * time.Second
	reopenMin           = time.Second // first pause after a stream that did not last; it doubles
	reopenMax           = time.Minute
	lasting             = time.Minute // a stream that was open for so long lasted, and so did a runtime that answered for so long
)

// following is what a Watcher knows of its runtime. The zero value knows nothing: a list is due.
type following struct {
	listAt   time.Time // when the next list is due
	listedAt time.Time // the last list that succeeded

	up      bool // the last list succeeded
	upSince time.Time
	retry   time.Duration // pause after the last list that failed; 0: none failed since the runtime answered for a while

	open     bool // there is a stream
	openedAt time.Time
	reopenAt time.Time     // no stream is opened before
	brief    int           // streams in a row that did not last
	heard    bool          // the open stream has told something
	deaf     bool          // a list showed a change, and the open stream has told nothing about that time or since
	period   time.Duration // between lists beside a stream that has told nothing yet
}

// occurrence is one thing that a Watcher meets. The zero value is a list that succeeded and showed nothing new.
type occurrence struct {
	kind    occurrenceKind
	changed bool // listed: something is not as in the list before
	told    bool // listed: the stream told something since the list before began
}

type occurrenceKind int

const (
	listed     occurrenceKind = iota
	listFailed                // the runtime does not answer
	ended                     // the stream is over, whatever the reason
	nudged                    // an event named no pod
)

// orders are what a Watcher does next, beside listing at following.listAt.
type orders struct {
	open    bool // open a stream
	pokeAll bool // anything may have happened while the runtime did not answer
	say     remark
}

// remark is a line for the log. Each is made once for a state, not for each try.
type remark int

const (
	nothing      remark = iota
	isDown              // the runtime stopped answering
	isUp                // it answers
	isWithout           // streams do not last
	isWith              // a stream lasts again
	streamClosed        // a stream is over, and that may be all
)

// next takes in what has happened. Every stream that ends is followed by a list and every stream that is opened by another
// one, so that nothing is lost between them. Pauses grow until a stream, or the runtime, has lasted: one that ends at once
// costs no more than none.
func (f following) next(o occurrence, now time.Time) (following, orders) {
	switch o.kind {
	case listFailed:
		return f.unlisted(now)
	case ended:
		return f.ended(now)
	case nudged:
		if soon := f.listedAt.Add(relistNudged); f.up && soon.Before(f.listAt) {
			f.listAt = soon
		}
		return f, orders{}
	}
	return f.listed(o, now)
}

func (f following) unlisted(now time.Time) (following, orders) {
	var do orders
	if f.up || f.retry == 0 {
		do.say = isDown
	}
	if f.up && now.Sub(f.upSince) >= lasting {
		f.retry = 0
	}
	f.retry = min(max(2*f.retry, retryMin), retryMax)
	f.listAt = now.Add(f.retry)
	f.up, f.brief, f.reopenAt = false, 0, time.Time{} // it may come back as another version
	return f, do
}

func (f following) ended(now time.Time) (following, orders) {
	do := orders{say: streamClosed}
	if now.Sub(f.openedAt) >= lasting {
		f.brief, f.reopenAt = 0, now
	} else {
		f.brief++
		f.reopenAt = now.Add(min(reopenMin<<min(f.brief-1, 10), reopenMax))
	}
	if f.brief == 2 { // one that breaks off is part of a runtime's restart
		do.say = isWithout
	}
	f.open = false
	if f.up {
		f.listAt = now
	}
	return f, do
}

func (f following) listed(o occurrence, now time.Time) (following, orders) {
	var do orders
	if !f.up {
		f.up, f.upSince = true, now
		do.pokeAll, do.say = true, isUp
	}
	f.listedAt = now
	switch {
	case f.open:
		if f.brief > 0 && now.Sub(f.openedAt) >= lasting {
			if f.brief > 1 {
				do.say = isWith
			}
			f.brief = 0
		}
		f.listAt = now.Add(f.beside(o))
	case now.Before(f.reopenAt):
		f.listAt = now.Add(relistWithoutEvents)
	default:
		do.open = true
		f.open, f.openedAt, f.heard, f.deaf, f.period = true, now, false, false, relistWithoutEvents
		f.listAt = now.Add(f.period)
	}
	return f, do
}

// beside is how long to wait for the next list while a stream is open. One that told something is relied on. One that told
// nothing may have nothing to tell, and lists become rare: what is left is that it tells nothing of what lists show.
func (f *following) beside(o occurrence) time.Duration {
	switch {
	case o.told:
		f.heard, f.deaf = true, false
	case o.changed:
		f.deaf = true
	}
	switch {
	case f.deaf:
		return relistWithoutEvents
	case f.heard:
		return relistWithEvents
	}
	f.period = min(2*f.period, relistWithEvents)
	return f.period
}
