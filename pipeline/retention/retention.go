// Package retention removes studies that are finished: received objects, result files and what identifies the patient.
//
// A study is removed after its retention time. While disk space is low, finished studies are removed earlier, the oldest first.
// Unfinished work is never touched. The case itself stays in the state for longer; after that a digest of its result stays, so
// that the same study sent again is not delivered twice.
package retention

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"ichor/pipeline/state"
	"ichor/scp/spool"
)

const (
	// sweepInterval is the time between two sweeps; retention times are days.
	sweepInterval = 15 * time.Minute
	// lookInterval is the time between two checks of the disk, so that a full disk is logged even if no peer sends.
	lookInterval = 15 * time.Second
	// freshFor is how long a finished study stays even when disk space is low: late objects may still arrive.
	freshFor = time.Hour
)

// Options say what is kept and for how long.
type Options struct {
	State   *state.Store
	Spool   *spool.Spool
	Results string // folder with one folder of result files for each case

	Keep         time.Duration // a finished study
	KeepFailed   time.Duration // a study whose analysis or delivery was given up
	KeepCases    time.Duration // the case in the state, after its study was removed
	MaxBytes     int64         // received studies may use this much; 0: no limit
	ReserveBytes uint64        // C-STORE is refused below this much free space; studies are removed below twice as much
	Destinations []string      // the configured ones; deliveries to others can never succeed

	Removed func(id state.CaseID, study, why string) // called when a study was removed; may be nil

	Logger *slog.Logger     // nil: no logging
	Now    func() time.Time // time.Now if nil
}

// Sweeper removes finished studies.
type Sweeper struct {
	o    Options
	hold sync.Mutex // nothing is removed while it is held
}

// New returns a Sweeper; it works while Run runs.
func New(o Options) *Sweeper {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Removed == nil {
		o.Removed = func(state.CaseID, string, string) {}
	}
	return &Sweeper{o: o}
}

// Hold keeps everything as it is until the returned function is called, for a backup.
func (s *Sweeper) Hold() (release func()) {
	s.hold.Lock()
	return s.hold.Unlock
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
			s.forget()
		case <-look.C:
			if s.o.Spool.Ready() != nil { // the spool has logged why
				s.Sweep(s.o.Now())
			}
		}
	}
}

// kept is a study that still uses disk space, with its standing when it was listed.
type kept struct {
	c        state.Case
	standing state.Standing
	since    time.Time // when it reached this standing
}

// Sweep removes studies whose retention time has passed at the time at. While disk space is low it then removes finished
// studies earlier, the oldest first.
func (s *Sweeper) Sweep(at time.Time) {
	defer s.Hold()()
	var left []kept
	for _, k := range s.studies() {
		limit := s.o.Keep
		if k.standing == state.GivenUp {
			limit = s.o.KeepFailed
		}
		if k.standing == state.Unfinished {
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
		if k.standing != state.Finished || at.Sub(k.since) < freshFor {
			continue
		}
		if !s.short() {
			return
		}
		s.drop(k, at.Add(-freshFor), "disk space")
	}
}

// Remove removes the study of one case now, if nothing of it is left to be done, and reports whether it did.
func (s *Sweeper) Remove(id state.CaseID) (removed bool) {
	c, standing, since, err := s.o.State.Judge(id, s.o.Destinations)
	if err != nil || standing == state.Unfinished {
		return false
	}
	return s.drop(kept{c, standing, since}, s.o.Now().Add(time.Second), "order")
}

// forget deletes cases of studies that were removed long ago from the state.
func (s *Sweeper) forget() {
	n, err := s.o.State.Forget(s.o.KeepCases)
	if err != nil {
		s.o.Logger.Error("old cases not removed from the state file", "err", err)
	} else if n > 0 {
		s.o.Logger.Info("old cases removed from the state file", "cases", n)
	}
}

// short reports whether studies use more than MaxBytes, or less than twice the reserve is free, so that studies are removed
// before objects are refused.
func (s *Sweeper) short() bool {
	if s.o.MaxBytes > 0 && s.o.Spool.Bytes() > s.o.MaxBytes {
		return true
	}
	free, err := s.o.Spool.Free()
	return err == nil && free < 2*s.o.ReserveBytes
}

// studies lists the studies in the spool, and those with only results left after an interrupted sweep.
func (s *Sweeper) studies() (all []kept) {
	seen := map[state.CaseID]bool{}
	add := func(id state.CaseID) {
		if seen[id] {
			return
		}
		seen[id] = true
		var k kept
		var err error
		k.c, k.standing, k.since, err = s.o.State.Judge(id, s.o.Destinations)
		switch {
		case errors.Is(err, state.ErrNotFound): // no case yet, or a foreign folder
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

// drop removes a study if its standing is unchanged and no object of it arrived after before: such an object is acknowledged,
// although the case may not show it yet. After an error the claim stays, and the next sweep continues.
func (s *Sweeper) drop(k kept, before time.Time, why string) (gone bool) {
	log := s.o.Logger.With("case", k.c.ID)
	err := s.o.State.Claim(k.c.ID, s.o.Destinations, k.standing, k.since)
	if errors.Is(err, state.ErrStale) { // an operator or a sender changed it meanwhile
		return false
	}
	if err == nil {
		var removed bool
		removed, err = s.o.Spool.RemoveStudy(k.c.StudyInstanceUID, before)
		gone = removed || len(s.o.Spool.Study(k.c.StudyInstanceUID)) == 0
	}
	if err == nil && gone {
		err = os.RemoveAll(filepath.Join(s.o.Results, string(k.c.ID)))
	}
	if err == nil {
		err = s.o.State.Release(k.c.ID, gone, s.o.Now())
	}
	switch {
	case err != nil:
		log.Error("old study not removed", "err", err)
		return false
	case gone:
		log.Info("old study removed", "why", why)
		s.o.Removed(k.c.ID, k.c.StudyInstanceUID, why)
	}
	return gone
}
