package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// trouble is why the spool cannot store objects at the moment, guarded by Spool.mu.
type trouble struct {
	err    error     // nil: none
	write  bool      // a write failed, so more free space is not enough to recover
	probed time.Time // last attempt to write since then
}

const (
	// probePause is the time between two attempts to write to a failed disk.
	probePause = time.Second
	// watchPause is the time between two attempts to write while no object is being stored.
	watchPause = 5 * time.Second
)

// Ready returns why no object can be stored, nil if it can: ErrNoSpace, ErrUnwritable, ErrResources. Create calls it before
// it accepts data. Ready tries a failed disk again, so that a node recovers without a restart. It logs failure and recovery
// once each.
func (s *Spool) Ready() error {
	err := s.reserved(1)
	if errors.Is(err, ErrNoSpace) && s.giveUp() {
		err = s.reserved(1)
	}
	s.mu.Lock()
	failed, due := s.trouble.err, time.Since(s.trouble.probed) >= probePause
	retry := err == nil && s.trouble.write && due
	if retry {
		s.trouble.probed = time.Now()
	}
	waits := err == nil && s.trouble.write && !due
	s.mu.Unlock()
	switch {
	case err != nil:
		s.note(err, false)
		return err
	case waits:
		return failed
	case retry:
		if err := s.probe(); err != nil {
			return s.failed("trying the disk again", err)
		}
	}
	s.recovered()
	return nil
}

// Unavailable returns a spool without a folder, for a node that cannot open its state: nothing can be stored, and Ready
// returns the error of why.
func Unavailable(why func() error) *Spool {
	return newSpool(Options{}, disk{free: func(string) (uint64, error) { return 0, why() }})
}

// Watch detects a full, read-only or failing disk, and its recovery, while nobody sends, until ctx is done. Without it Ready
// knows only how the last write ended.
func (s *Spool) Watch(ctx context.Context) error {
	tick := time.NewTicker(watchPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.watch()
		}
	}
}

// watch tries the disk once, unless objects are being stored.
func (s *Spool) watch() {
	if s.Ready() != nil || time.Now().UnixNano()-s.used.Load() < int64(watchPause) {
		return
	}
	if err := s.probe(); err != nil {
		s.failed("trying the disk", err)
	}
}

// reserved returns ErrNoSpace if less than 1/n of the reserve is free.
func (s *Spool) reserved(n int64) error {
	free, err := s.disk.free(s.opts.Dir)
	if err != nil {
		return diskError("trying the disk", err)
	}
	if reserve := s.opts.ReserveBytes / n; reserve > 0 && free < uint64(reserve) {
		return fmt.Errorf("%d MiB free, %d MiB are kept in reserve: %w; free disk space", free>>20, reserve>>20, ErrNoSpace)
	}
	return nil
}

// probe writes and syncs a small file.
func (s *Spool) probe() error {
	f, err := os.CreateTemp(s.dir, "probe-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := s.disk.write(f, make([]byte, 64<<10), 0); err != nil {
		return err
	}
	return s.disk.sync(f)
}

// failed records a failed write and returns its error.
func (s *Spool) failed(what string, err error) error {
	err = diskError(what, err)
	s.note(err, true)
	return err
}

func (s *Spool) note(err error, write bool) {
	s.mu.Lock()
	first := s.trouble.err == nil
	s.trouble.err, s.trouble.write = err, s.trouble.write || write
	s.mu.Unlock()
	if first {
		s.opts.Logger.Error("no object can be stored, senders get status A700H until the disk recovers", "err", err)
	}
}

// recovered records that the disk can be written again.
func (s *Spool) recovered() {
	s.mu.Lock()
	was := s.trouble.err != nil
	s.trouble = trouble{}
	s.mu.Unlock()
	if was {
		s.opts.Logger.Info("objects can be stored again")
	}
}
