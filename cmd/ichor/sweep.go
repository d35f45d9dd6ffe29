package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ichor/pipeline/state"
)

const (
	// sweepInterval is how often old studies are looked for; retention is counted in days.
	sweepInterval = 15 * time.Minute
	// lookInterval is how often the disk is looked at, so that the log tells of a full one though nobody sends.
	lookInterval = 15 * time.Second
	// freshFor is how long a finished study stays whatever the disk says: late objects of it may still come.
	freshFor = time.Hour
)

// sweep removes studies that are done with. Unfinished work is never touched. Their cases stay: the same study sent
// again gives the same result, which is not delivered twice.
func (n *node) sweep(ctx context.Context) error {
	tick, look := time.NewTicker(sweepInterval), time.NewTicker(lookInterval)
	defer tick.Stop()
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			n.sweepAll(now())
		case <-look.C:
			if n.spool.Ready() != nil { // it has told the log
				n.sweepAll(now())
			}
		}
	}
}

// kept is a study with what it still occupies.
type kept struct {
	study    string
	c        state.Case
	standing standing
	since    time.Time // that it stands like this
}

// standing says whether a study is done with.
type standing int

const (
	unfinished standing = iota // somebody or something will still need it
	finished                   // analysed, and every result where it should go
	givenUp                    // its analysis failed, a result is with the dead letters, or its destination is no more
)

// sweepAll removes what is older than its retention time, then, as long as the disk is short, finished studies before
// their time, the oldest first.
func (n *node) sweepAll(at time.Time) {
	var left []kept
	for _, k := range n.keptStudies() {
		limit := n.config.Retention
		if k.standing == givenUp {
			limit = n.config.RetentionFailed
		}
		if k.standing == unfinished {
			continue
		}
		if at.Sub(k.since) < limit {
			left = append(left, k)
			continue
		}
		n.drop(k, at.Add(-limit), "age")
	}
	slices.SortFunc(left, func(a, b kept) int { return a.since.Compare(b.since) })
	for _, k := range left {
		if k.standing != finished || at.Sub(k.since) < freshFor {
			continue
		}
		if !n.short() {
			return
		}
		n.drop(k, at.Add(-freshFor), "disk space")
	}
}

// short reports whether the disk, or the share of it that may be used, comes to its end: twice the reserve is left, so
// that studies go before objects are refused.
func (n *node) short() bool {
	if limit := int64(n.config.RetentionGiB) << 30; limit > 0 && n.spool.Bytes() > limit {
		return true
	}
	free, err := n.spool.Free()
	return err == nil && free < 2*uint64(n.config.DICOM.ReserveMiB)<<20
}

// keptStudies lists the studies in the spool, and those of which only results are left, as a sweep that was cut off
// leaves them.
func (n *node) keptStudies() (all []kept) {
	seen := map[state.CaseID]bool{}
	add := func(id state.CaseID) {
		if seen[id] {
			return
		}
		seen[id] = true
		k, err := n.judge(id)
		switch {
		case errors.Is(err, state.ErrNotFound): // not yet a case, or not ours
		case err != nil:
			n.log.Error("old study not removed", "case", id, "err", err)
		default:
			all = append(all, k)
		}
	}
	for _, study := range n.spool.Studies() {
		add(state.IDOf(study))
	}
	folders, err := os.ReadDir(n.results)
	if err != nil {
		n.log.Error("old results not removed", "err", err)
	}
	for _, f := range folders {
		add(state.CaseID(f.Name()))
	}
	return all
}

// judge says how a case stands.
func (n *node) judge(id state.CaseID) (k kept, err error) {
	if k.c, err = n.store.Case(id); err != nil {
		return k, err
	}
	k.study, k.since = k.c.StudyInstanceUID, k.c.Updated
	switch k.c.Phase {
	case state.Analyzed, state.Refused:
		k.standing = finished
	case state.Failed:
		k.standing = givenUp
	default:
		return k, nil
	}
	deliveries, err := n.store.Deliveries(id)
	if err != nil {
		return k, err
	}
	for _, d := range deliveries {
		if d.Updated.After(k.since) {
			k.since = d.Updated
		}
		switch {
		case d.Settled():
		case d.State == state.Dead || !n.configured(d.Destination):
			k.standing = givenUp
		default:
			k.standing = unfinished
			return k, nil
		}
	}
	return k, nil
}

func (n *node) configured(destination string) bool {
	for _, d := range n.config.Destinations {
		if d.Name == destination {
			return true
		}
	}
	return false
}

// drop removes a study, unless an object of it came since before: that one is acknowledged, though the case may not say
// so yet.
func (n *node) drop(k kept, before time.Time, why string) {
	log := n.log.With("case", k.c.ID)
	removed, err := n.spool.RemoveStudy(k.study, before)
	if err == nil && !removed && len(n.spool.Study(k.study)) > 0 {
		return
	}
	if err == nil {
		err = os.RemoveAll(filepath.Join(n.results, string(k.c.ID)))
	}
	if err == nil {
		err = n.store.ForgetPatient(k.c.ID)
	}
	if err == nil && k.standing == givenUp {
		err = n.forget(k.c.ID)
	}
	if err != nil {
		log.Error("old study not removed", "err", err)
		return
	}
	log.Info("old study removed", "why", why)
}

// forget ends the deliveries of a case whose results are gone, so that nobody waits for them.
func (n *node) forget(id state.CaseID) error {
	deliveries, err := n.store.Deliveries(id)
	if err != nil {
		return err
	}
	for _, d := range deliveries {
		if d.Settled() {
			continue
		}
		if d.State == state.Pending {
			err = n.store.MarkFailed([]state.Failure{{Key: d.DeliveryKey, Next: now(), Dead: true, Err: "its destination is not configured any more"}}, now())
		}
		if err == nil && d.State != state.Stored { // a stored one waits for a commitment of a node that is no more
			err = n.store.Discard(d.DeliveryKey, now())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cleanResults removes what a killed run left half-written among the results.
func (n *node) cleanResults() error {
	left, err := filepath.Glob(filepath.Join(n.results, "*", ".part-*"))
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// scrub verifies what a former run stored, while this one works.
func (n *node) scrub(ctx context.Context) error {
	if err := n.spool.Scrub(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}
