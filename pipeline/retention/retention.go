// Package retention removes studies that are finished: received objects, result files and what identifies the patient.
//
// Age decides first: a study is removed after its retention time. While the disk is short, finished studies are removed
// before their time, the oldest first. Unfinished work is never touched. The case itself stays in the state, so the same
// study sent again gives the same result, which is not delivered twice.
package retention

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ichor/pipeline/state"
	"ichor/scp/spool"
)

const (
	// sweepInterval is the time between two sweeps; retention times are days.
	sweepInterval = 15 * time.Minute
	// lookInterval is the time between two looks at the disk, so that the log reports a full disk although no peer sends.
	lookInterval = 15 * time.Second
	// freshFor is how long a finished study stays even when the disk is short: late objects may still arrive.
	freshFor = time.Hour
)

// Options say what is kept and for how long.
type Options struct {
	State   *state.Store
	Spool   *spool.Spool
	Results string // folder with one folder of result files for each case

	Keep         time.Duration // a finished study
	KeepFailed   time.Duration // a study whose analysis or delivery was given up
	MaxBytes     int64         // received studies may occupy this much; 0 is no limit
	ReserveBytes uint64        // C-STORE is refused below this much free space; studies are removed below twice as much
	Destinations []string      // the configured ones: a delivery to any other can never succeed

	Logger *slog.Logger     // nil: none
	Now    func() time.Time // time.Now if nil
}

// Sweeper removes finished studies.
type Sweeper struct{ o Options }

// New returns a Sweeper; Run makes it work.
func New(o Options) *Sweeper {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Sweeper{o}
}

// Run sweeps at regular intervals, and more often while the disk is full, until ctx is done.
func (s *Sweeper) Run(ctx context.Context) error {
	tick, look := time.NewTicker(sweepInterval), time.NewTicker(lookInterval)
	defer tick.Stop()
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.Sweep(s.o.Now())
		case <-look.C:
			if s.o.Spool.Ready() != nil { // the spool has logged why
				s.Sweep(s.o.Now())
			}
		}
	}
}

// kept is a study that still occupies space.
type kept struct {
	study    string
	c        state.Case
	standing standing
	since    time.Time // of its standing
}

// standing says whether a study may be removed.
type standing int

const (
	unfinished standing = iota // still needed
	finished                   // analysed, and every result is at its destination
	givenUp                    // its analysis failed, a result is a dead letter, or its destination was removed
)

// Sweep removes what is older than its retention time at the time at. While the disk is short it then removes finished
// studies before their time, the oldest first.
func (s *Sweeper) Sweep(at time.Time) {
	var left []kept
	for _, k := range s.studies() {
		limit := s.o.Keep
		if k.standing == givenUp {
			limit = s.o.KeepFailed
		}
		if k.standing == unfinished {
			continue
		}
		if at.Sub(k.since) < limit {
			left = append(left, k)
			continue
		}
		s.drop(k, at.Add(-limit), "age")
	}
	slices.SortFunc(left, func(a, b kept) int { return a.since.Compare(b.since) })
	for _, k := range left {
		if k.standing != finished || at.Sub(k.since) < freshFor {
			continue
		}
		if !s.short() {
			return
		}
		s.drop(k, at.Add(-freshFor), "disk space")
	}
}

// short reports whether studies occupy more than they may, or less than twice the reserve is free, so that studies are
// removed before objects are refused.
func (s *Sweeper) short() bool {
	if s.o.MaxBytes > 0 && s.o.Spool.Bytes() > s.o.MaxBytes {
		return true
	}
	free, err := s.o.Spool.Free()
	return err == nil && free < 2*s.o.ReserveBytes
}

// studies lists the studies in the spool, and those with only results left, as an interrupted sweep leaves them.
func (s *Sweeper) studies() (all []kept) {
	seen := map[state.CaseID]bool{}
	add := func(id state.CaseID) {
		if seen[id] {
			return
		}
		seen[id] = true
		k, err := s.judge(id)
		switch {
		case errors.Is(err, state.ErrNotFound): // not a case yet, or not our folder
		case err != nil:
			s.o.Logger.Error("old study not removed", "case", id, "err", err)
		default:
			all = append(all, k)
		}
	}
	for _, study := range s.o.Spool.Studies() {
		add(state.IDOf(study))
	}
	folders, err := os.ReadDir(s.o.Results)
	if err != nil {
		s.o.Logger.Error("old results not removed", "err", err)
	}
	for _, f := range folders {
		add(state.CaseID(f.Name()))
	}
	return all
}

// judge returns the standing of a case.
func (s *Sweeper) judge(id state.CaseID) (k kept, err error) {
	if k.c, err = s.o.State.Case(id); err != nil {
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
	deliveries, err := s.o.State.Deliveries(id)
	if err != nil {
		return k, err
	}
	for _, d := range deliveries {
		if d.Updated.After(k.since) {
			k.since = d.Updated
		}
		switch {
		case d.Settled():
		case d.State == state.Dead || !s.configured(d.Destination):
			k.standing = givenUp
		default:
			k.standing = unfinished
			return k, nil
		}
	}
	return k, nil
}

func (s *Sweeper) configured(destination string) bool {
	return slices.Contains(s.o.Destinations, destination)
}

// drop removes a study, unless an object of it arrived after before: that object is acknowledged, although the case may
// not show it yet.
func (s *Sweeper) drop(k kept, before time.Time, why string) {
	log := s.o.Logger.With("case", k.c.ID)
	removed, err := s.o.Spool.RemoveStudy(k.study, before)
	if err == nil && !removed && len(s.o.Spool.Study(k.study)) > 0 {
		return
	}
	if err == nil {
		err = os.RemoveAll(filepath.Join(s.o.Results, string(k.c.ID)))
	}
	if err == nil {
		err = s.o.State.ForgetPatient(k.c.ID)
	}
	if err == nil && k.standing == givenUp {
		err = s.endDeliveries(k.c.ID)
	}
	if err != nil {
		log.Error("old study not removed", "err", err)
		return
	}
	log.Info("old study removed", "why", why)
}

// endDeliveries ends the open deliveries of a case whose results are removed.
func (s *Sweeper) endDeliveries(id state.CaseID) error {
	deliveries, err := s.o.State.Deliveries(id)
	if err != nil {
		return err
	}
	for _, d := range deliveries {
		if d.Settled() {
			continue
		}
		if d.State == state.Pending {
			err = s.o.State.MarkFailed([]state.Failure{{Key: d.DeliveryKey, Next: s.o.Now(), Dead: true, Err: "its destination is not configured any more"}}, s.o.Now())
		}
		if err == nil && d.State != state.Stored { // a stored one waits for a commitment from a destination that was removed
			err = s.o.State.Discard(d.DeliveryKey, s.o.Now())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
