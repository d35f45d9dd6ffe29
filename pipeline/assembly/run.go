package assembly

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

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
		t := a.take(now, counts)
		for _, study := range t.begun {
			a.opts.Begin(study)
		}
		for _, study := range append(t.begun, t.reached...) {
			a.opts.Ask(study)
		}
		for _, d := range t.done {
			a.opts.Complete(d.study, d.how)
		}
		for _, study := range t.ripe {
			a.opts.Ripe(study)
		}
		for _, s := range t.learnt {
			a.opts.Learnt(s)
		}
		if len(t.done) > 0 {
			continue // the callbacks took time
		}
		timer.Reset(t.wait)
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

// work is what is due: studies for Begin, Ask, Ripe and Complete, and how long to wait for the next.
type work struct {
	begun, reached, ripe []string
	done                 []completed
	learnt               []Sender
	wait                 time.Duration
}

// take removes and returns the work that is due, in order.
func (a *Assembler) take(now time.Time, counts map[string]count) (w work) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.begun, a.begun = a.begun, nil
	w.wait = a.opts.Limit
	for study, g := range a.studies {
		c, counted := counts[study]
		all := counted && g.expected > 0 && c.here >= g.expected
		if counted && g.objects >= g.look {
			g.look = c.received + g.expected - c.here
		}
		if all && !g.reached {
			g.reached = true
			w.reached = append(w.reached, study)
		}
		deadline, how := a.deadline(g)
		if all && g.counted {
			deadline, how = now, "count "+strconv.Itoa(g.expected)
		}
		if left := deadline.Sub(now); left > 0 {
			w.wait = min(w.wait, left)
			if at, expected := a.ripe(g); expected && at.After(now) {
				w.wait = min(w.wait, at.Sub(now))
			} else if expected {
				g.told = true
				w.ripe = append(w.ripe, study)
			}
			continue
		}
		byQuiet := strings.HasPrefix(how, "quiet")
		if g.expected > 0 && !g.counted {
			if !counted { // Expect was called meanwhile
				w.wait = 0
				continue
			}
			how += ", " + strconv.Itoa(c.here) + " of " + strconv.Itoa(g.expected)
		}
		delete(a.studies, study)
		a.learn(study, g, byQuiet, now)
		w.done = append(w.done, completed{study, how, g.first})
	}
	for title := range a.learnt {
		w.learnt = append(w.learnt, a.sender(title).copy())
		delete(a.learnt, title)
	}
	slices.SortFunc(w.done, func(x, y completed) int {
		if c := x.first.Compare(y.first); c != 0 {
			return c
		}
		return strings.Compare(x.study, y.study)
	})
	return w
}

// deadline returns when the study is complete if nothing else happens, and by which rule. a.mu is held.
func (a *Assembler) deadline(g *gathering) (time.Time, string) {
	last := g.last
	if a.refused.After(last) {
		last = a.refused
	}
	period := a.quietOf(g)
	limit, quiet := g.first.Add(a.opts.Limit), last.Add(period)
	how := "quiet " + short(period)
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
