// Package assembly groups received objects by study and decides when a study is complete.
//
// C-STORE has no end of study, so completeness is inferred. The rule that applied is passed on with the study:
//
//	count 35   all objects have arrived that a peer, asked twice by C-FIND, has of the study
//	quiet 5s   nothing arrived for the quiet period, and no open association sent its last object to the study
//	idle 15s   such an association is open but sent nothing for this long; three times the configured quiet period
//	limit 10m  objects kept arriving, or could not be stored, for this long
//
// If a peer reported more objects than arrived, the text says so: quiet 5s, 30 of 35.
//
// The quiet period follows the pauses of each sender, see Sender. Options.Quiet is its upper limit, and the period of a sender
// that is not known yet.
//
// While this node itself refuses objects, silence says nothing about the sender: quiet and idle start when it accepts
// objects again.
//
// If more objects arrive after a study was complete, it starts again. An Assembler has no data that must survive a restart:
// spool and state know which studies are unfinished, and Resume adds them again.
package assembly

import (
	"sync"
	"time"
)

// Options are the rules for completeness and the callbacks.
type Options struct {
	Quiet time.Duration // longest silence after which a study is complete; default 5 s
	Least time.Duration // shortest learnt quiet period; default 3 s. Quiet or more: the period is Quiet for every sender
	Limit time.Duration // longest time from the first object; default 10 min
	Idle  time.Duration // silence after which an open association no longer holds a study; default and minimum 3 Quiet

	// Begin is called for the first object of a study, also after it was complete. May be nil.
	Begin func(study string)
	// Ask is called to ask a peer how many objects a study has: after Begin, and again when that many have arrived, because
	// the peer may still be receiving objects itself. The answer is passed to Expect, at any time or never. Ask must not
	// block. May be nil. If set, Objects is required and returns how many objects of a study are stored.
	Ask     func(study string)
	Objects func(study string) int
	// Ready returns why this node cannot store objects at the moment, nil if it can. A nil Ready means it always can.
	Ready func() error
	// Ripe is called when a study is likely to be complete, before it counts as complete: its sender has released the
	// association and is silent for longer than between most objects. It is called again after further objects. May be nil.
	Ripe func(study string)
	// Complete is called once for each Begin or Resume. If it fails, it calls Resume to be called again.
	Complete func(study, how string)

	Senders []Sender     // what earlier runs learnt
	Learnt  func(Sender) // called when more is learnt of a sender; may be nil
}

const (
	defaultQuiet = 5 * time.Second
	defaultLeast = 3 * time.Second
	defaultLimit = 10 * time.Minute
)

// Assembler implements scp.Sink. Its methods never block on its callbacks: Run calls all of them, one at a time, with no
// lock held.
type Assembler struct {
	opts Options
	wake chan struct{} // a deadline moved forward, or begun is not empty

	mu      sync.Mutex
	studies map[string]*gathering
	assocs  map[uint64]string // open associations and the study of the last object of each
	begun   []string          // studies for which Begin must still be called
	refused time.Time         // when this node last refused objects, or would have
	senders map[string]*Sender
	ended   map[string]ended // studies complete by quiet, for as long as a late object would have been in time with Options.Quiet
	learnt  map[string]bool  // senders for which Learnt must be called
}

// gathering is a study that is not complete yet.
type gathering struct {
	first, last time.Time
	objects     int
	open        int // open associations whose last object was of this study

	sender  string        // of the last object; empty: not known
	senders []string      // of all objects
	longest time.Duration // longest pause between two objects of one sender
	pauses  int
	resumed bool // it began before this process, or Complete failed
	told    bool // Ripe was called, and nothing arrived since

	expected int  // number of objects that a peer has; 0: unknown
	look     int  // number of received objects at which expected may be reached
	reached  bool // expected objects have arrived, and the peer is asked again
	counted  bool // the peer gave the same number again
}

// New returns an Assembler; it works while Run runs.
func New(opts Options) *Assembler {
	if opts.Quiet <= 0 {
		opts.Quiet = defaultQuiet
	}
	if opts.Least <= 0 {
		opts.Least = defaultLeast
	}
	if opts.Limit <= 0 {
		opts.Limit = defaultLimit
	}
	if opts.Idle <= 0 {
		opts.Idle = 3 * opts.Quiet
	}
	opts.Idle = max(opts.Idle, opts.Quiet)
	if opts.Begin == nil {
		opts.Begin = func(string) {}
	}
	if opts.Ask == nil || opts.Objects == nil {
		opts.Ask, opts.Objects = func(string) {}, func(string) int { return 0 }
	}
	if opts.Ready == nil {
		opts.Ready = func() error { return nil }
	}
	if opts.Ripe == nil {
		opts.Ripe = func(string) {}
	}
	if opts.Complete == nil {
		opts.Complete = func(string, string) {}
	}
	if opts.Learnt == nil {
		opts.Learnt = func(Sender) {}
	}
	a := &Assembler{
		opts:    opts,
		wake:    make(chan struct{}, 1),
		studies: map[string]*gathering{},
		assocs:  map[uint64]string{},
		senders: map[string]*Sender{},
		ended:   map[string]ended{},
		learnt:  map[string]bool{},
	}
	for _, s := range opts.Senders {
		a.senders[s.AETitle] = new(s.copy())
	}
	return a
}

// Opened records an association that may send objects.
func (a *Assembler) Opened(assoc uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.assocs[assoc] = ""
}

// received records an object of a study. An object already stored (not fresh) shows that the sender is still sending an
// incomplete study, but does not start one.
func (a *Assembler) received(assoc uint64, sender, study string, fresh bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	g := a.studies[study]
	if g == nil {
		if !fresh {
			return
		}
		a.late(study, sender, now)
		g = a.begin(study)
	}
	a.paused(g, sender, now)
	g.last, g.told = now, false
	if fresh {
		g.objects++
		if g.expected > 0 && g.objects >= g.look {
			a.nudge()
		}
	}
	if before, open := a.assocs[assoc]; open && before != study {
		a.leave(before)
		a.assocs[assoc] = study
		g.open++
	}
}

// Refused records that an object was refused because this node could not store it (A700H). The sender may retry on this or
// another association; the study of the object is unknown.
func (a *Assembler) Refused(uint64) { a.hold(time.Now()) }

// hold restarts the quiet and idle periods at now.
func (a *Assembler) hold(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused = now
}

// Expect reports how many objects of a study a peer has. The study is complete when that many have arrived and the peer then
// gives the same number again. For a study that is already complete, Expect does nothing.
func (a *Assembler) Expect(study string, objects int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.studies[study]
	if g == nil || objects <= 0 {
		return
	}
	g.counted = g.reached && g.expected == objects
	g.reached = g.counted
	g.expected, g.look = objects, 0
	a.nudge()
}

// Closed records that an association ended, in any way.
func (a *Assembler) Closed(assoc uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leave(a.assocs[assoc])
	delete(a.assocs, assoc)
	a.nudge()
}

// leave records that an association no longer sends a study: it ended, or sends another study.
func (a *Assembler) leave(study string) {
	if g := a.studies[study]; g != nil {
		g.open--
		a.nudge()
	}
}

// Resume adds a study with this number of objects in the spool that was incomplete when the process ended, or for which
// Complete failed. It waits for a whole quiet period from now, so that a sender whose association broke can reconnect.
func (a *Assembler) Resume(study string, objects int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.studies[study] == nil {
		g := a.begin(study)
		g.last, g.objects, g.resumed = g.first, objects, true
	}
}

func (a *Assembler) begin(study string) *gathering {
	g := &gathering{first: time.Now()}
	a.studies[study] = g
	a.begun = append(a.begun, study)
	// An association that sent objects of the study before it was complete counts again only when it sends another.
	for assoc, sending := range a.assocs {
		if sending == study {
			a.assocs[assoc] = ""
		}
	}
	a.nudge()
	return g
}

func (a *Assembler) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}
