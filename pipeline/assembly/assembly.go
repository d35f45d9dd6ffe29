// Package assembly groups received objects by study and decides when a study is complete.
//
// C-STORE has no end of study, so completeness is inferred. The rule that applied is passed on with the study:
//
//	count 35   all objects have arrived that a peer, asked twice by C-FIND, has of the study
//	quiet 5s   nothing arrived for the quiet period, and no open association sent its last object to the study
//	idle 15s   such an association is open but sent nothing for this long
//	limit 10m  objects kept arriving, or could not be stored, for this long
//
// If a peer reported more objects than arrived, the text says so: quiet 5s, 30 of 35.
//
// While this node itself refuses objects, silence says nothing about the sender: quiet and idle start when it accepts
// objects again.
//
// If more objects arrive after a study was complete, it starts again. An Assembler has no data that must survive a restart:
// spool and state know which studies are unfinished, and Resume adds them again.
package assembly

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options are the rules for completeness and the callbacks.
type Options struct {
	Quiet time.Duration // silence after which a study is complete; default 5 s
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
	// Complete is called once for each Begin or Resume. If it fails, it calls Resume to be called again.
	Complete func(study, how string)
}

const (
	defaultQuiet = 5 * time.Second
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
}

// gathering is a study that is not complete yet.
type gathering struct {
	first, last time.Time
	objects     int
	open        int // open associations whose last object was of this study

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
	if opts.Complete == nil {
		opts.Complete = func(string, string) {}
	}
	return &Assembler{
		opts:    opts,
		wake:    make(chan struct{}, 1),
		studies: map[string]*gathering{},
		assocs:  map[uint64]string{},
	}
}

// Opened records an association that may send objects.
func (a *Assembler) Opened(assoc uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.assocs[assoc] = ""
}

// received records an object of a study. An object already stored (not fresh) shows that the sender is still sending an
// incomplete study, but does not start one.
func (a *Assembler) received(assoc uint64, study string, fresh bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.studies[study]
	if g == nil {
		if !fresh {
			return
		}
		g = a.begin(study)
	}
	g.last = time.Now()
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
		g.last, g.objects = g.first, objects
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

// Run calls the callbacks until ctx is done. Pass studies that are unfinished then to Resume at the next start.
func (a *Assembler) Run(ctx context.Context) error {
	timer := time.NewTimer(a.opts.Quiet)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		uncounted, due := a.look(now)
		counts := map[string]count{}
		for study, objects := range uncounted {
			counts[study] = count{a.opts.Objects(study), objects}
		}
		if due && a.opts.Ready() != nil {
			a.hold(now)
		}
		begun, reached, done, wait := a.take(now, counts)
		for _, study := range begun {
			a.opts.Begin(study)
		}
		for _, study := range append(begun, reached...) {
			a.opts.Ask(study)
		}
		for _, d := range done {
			a.opts.Complete(d.study, d.how)
		}
		if len(done) > 0 {
			continue // the callbacks took time
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-a.wake:
		case <-timer.C:
		}
	}
	return nil
}

// count is the number of stored objects of a study (here), and the number received since Begin when they were counted.
type count struct{ here, received int }

// look returns the studies whose objects must be counted, with the number received since Begin, and whether any study is due.
func (a *Assembler) look(now time.Time) (uncounted map[string]int, due bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	uncounted = map[string]int{}
	for study, g := range a.studies {
		deadline, _ := a.deadline(g)
		over := !deadline.After(now)
		due = due || over
		if g.expected > 0 && (over || g.objects >= g.look) {
			uncounted[study] = g.objects
		}
	}
	return uncounted, due
}

type completed struct {
	study, how string
	first      time.Time
}

// take removes and returns the work that is due, in order, and how long to wait for the next.
func (a *Assembler) take(now time.Time, counts map[string]count) (begun, reached []string, done []completed, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	begun, a.begun = a.begun, nil
	wait = a.opts.Limit
	for study, g := range a.studies {
		c, counted := counts[study]
		all := counted && g.expected > 0 && c.here >= g.expected
		if counted && g.objects >= g.look {
			g.look = c.received + g.expected - c.here
		}
		if all && !g.reached {
			g.reached = true
			reached = append(reached, study)
		}
		deadline, how := a.deadline(g)
		if all && g.counted {
			deadline, how = now, "count "+strconv.Itoa(g.expected)
		}
		if left := deadline.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		if g.expected > 0 && !g.counted {
			if !counted { // Expect was called meanwhile
				wait = 0
				continue
			}
			how += ", " + strconv.Itoa(c.here) + " of " + strconv.Itoa(g.expected)
		}
		delete(a.studies, study)
		done = append(done, completed{study, how, g.first})
	}
	slices.SortFunc(done, func(x, y completed) int {
		if c := x.first.Compare(y.first); c != 0 {
			return c
		}
		return strings.Compare(x.study, y.study)
	})
	return begun, reached, done, wait
}

// deadline returns when the study is complete if nothing else happens, and by which rule. a.mu is held.
func (a *Assembler) deadline(g *gathering) (time.Time, string) {
	last := g.last
	if a.refused.After(last) {
		last = a.refused
	}
	limit, quiet := g.first.Add(a.opts.Limit), last.Add(a.opts.Quiet)
	how := "quiet " + short(a.opts.Quiet)
	if g.open > 0 {
		quiet, how = last.Add(a.opts.Idle), "idle "+short(a.opts.Idle)
	}
	if limit.Before(quiet) {
		return limit, "limit " + short(a.opts.Limit)
	}
	return quiet, how
}

// short writes 10m0s as 10m and 1h0m0s as 1h.
func short(d time.Duration) string {
	s := d.String()
	if d >= time.Minute {
		s = strings.TrimSuffix(s, "m0s")
		if s != d.String() {
			s += "m"
		}
	}
	if d >= time.Hour {
		if t := strings.TrimSuffix(s, "h0m"); t != s {
			s = t + "h"
		}
	}
	return s
}
