// Package assembly groups received objects by study and decides when a study is complete.
//
// C-STORE carries no end of study, so completeness is an inference, and how it was made is handed on with the study:
//
//	count 35   as many objects are here as a peer, asked twice, has of the study
//	quiet 5s   nothing came for the quiet period, and no association is open whose last object was of the study
//	idle 15s   such an association is open, and sends nothing
//	limit 10m  objects kept coming for too long, or this node could not store objects for so long
//
// Where a peer told of more objects than came, it says so as well: quiet 5s, 30 of 35.
//
// While this node itself refuses objects, silence says nothing about the sender: quiet and idle count from the end of
// that.
//
// A study that receives more objects after it was complete begins anew. An Assembler holds nothing that must survive
// a restart: spool and state know which studies are unfinished, and Resume takes them up again.
package assembly

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options are the rules of completeness.
type Options struct {
	Quiet time.Duration // silence after which a study is complete; default 5 s
	Limit time.Duration // longest time from the first object; default 10 min
	Idle  time.Duration // silence after which an open association holds a study no longer; default 3 Quiet, at least that

	// Begin is called for the first object of a study since it was last complete. May be nil.
	Begin func(study string)
	// Ask is called for a study whose objects a peer may be able to count: after Begin, and again when as many are here as
	// were told, for the peer may still be receiving them itself. Whoever knows calls Expect, whenever that is, or not at
	// all. It must not block. May be nil; with it comes Objects, how many of a study are here.
	Ask     func(study string)
	Objects func(study string) int
	// Ready says why this node can store no objects at the moment, nil if it can. Nil: it always can.
	Ready func() error
	// Complete is called once for each Begin or Resume. One that could not do its work calls Resume to be asked again.
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
	wake chan struct{} // a deadline came closer, or begun is not empty

	mu      sync.Mutex
	studies map[string]*gathering
	assocs  map[uint64]string // open associations and the study each is sending: that of its last object
	begun   []string          // studies whose Begin is still to be called
	refused time.Time         // when an object was last refused for want of space, or could have been
}

// gathering is a study that is not complete yet.
type gathering struct {
	first, last time.Time
	objects     int
	open        int // associations still open whose last object was of it

	expected int  // as many as a peer has; 0: not known
	look     int  // objects at which as many may be here
	reached  bool // as many are here, and the peer is asked again
	counted  bool // it said the same again
}

// New returns an Assembler; Run makes it work.
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

// Opened notes an association that may send objects.
func (a *Assembler) Opened(assoc uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.assocs[assoc] = ""
}

// received notes an object of a study. One that was there already (not fresh) is a sign that the sender is not done
// with a study that is being gathered; it does not begin one.
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

// Refused notes that an object was refused because this node could not store it (A700H): the sender may come again, on
// this association or another, with an object of any study.
func (a *Assembler) Refused(uint64) { a.hold(time.Now()) }

// hold has quiet and idle count from now.
func (a *Assembler) hold(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused = now
}

// Expect tells how many objects of a study a peer has. A number that is told again when as many are here makes the study
// complete; until then, and for a study that was complete before, it changes nothing.
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

// Closed notes that an association ended, in whatever way.
func (a *Assembler) Closed(assoc uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leave(a.assocs[assoc])
	delete(a.assocs, assoc)
	a.nudge()
}

// leave notes that an association sends a study no longer: it ended, or went on to another.
func (a *Assembler) leave(study string) {
	if g := a.studies[study]; g != nil {
		g.open--
		a.nudge()
	}
}

// Resume takes up a study of which objects instances are in the spool and which was not complete when the process
// ended, or whose Complete could not be carried out. It waits for a whole quiet period from now: a sender whose
// association broke is given the time to come back.
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
	// An association that sent objects of the study before it was last complete counts once more when it sends again.
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

// Run calls Begin and Complete until ctx is done. Studies that are unfinished then are for Resume at the next start.
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
			continue // time has passed in the callbacks
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

// count is how many objects of a study are here, counted when so many had been received since it began.
type count struct{ here, received int }

// look lists the studies whose objects have to be counted, with how many were received since they began, and reports
// whether any study is due.
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

// take removes and returns what is to be done now, in order, and says how long nothing else will be.
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
			if !counted { // it was told of meanwhile
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
