package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// trouble is why the spool takes nothing at the moment, guarded by Spool.mu.
type trouble struct {
	err    error     // nil: none
	write  bool      // a write failed, so free space alone does not end it
	probed time.Time // last attempt to write in spite of it
}

const (
	// probePause is the time between two attempts to write to a disk that failed.
	probePause = time.Second
	// watchPause is the time between two attempts to write to a disk on which nothing is being stored.
	watchPause = 5 * time.Second
)

// Ready says why no object can be taken, nil if it can: ErrNoSpace, ErrUnwritable, ErrResources. Create asks it before
// any data is taken. It tries a failed disk again, so that a node recovers without a restart, and logs both changes once.
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

// Watch finds out that the disk is full, read-only or failing while nobody sends, and that it has recovered, until ctx
// is done. Without it Ready knows only what the last object met.
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

// watch tries the disk once, unless objects are being stored on it.
func (s *Spool) watch() {
	if s.Ready() != nil || time.Now().UnixNano()-s.used.Load() < int64(watchPause) {
		return
	}
	if err := s.probe(); err != nil {
		s.failed("trying the disk", err)
	}
}

// reserved returns ErrNoSpace where less than the n-th part of the reserve is free.
func (s *Spool) reserved(n int64) error {
	free, err := s.disk.free(s.opts.Dir)
	if err != nil {
		return diskError("free space", err)
	}
	if reserve := s.opts.ReserveBytes / n; reserve > 0 && free < uint64(reserve) {
		return fmt.Errorf("%d MiB free, %d MiB are kept in reserve: %w; free disk space", free>>20, reserve>>20, ErrNoSpace)
	}
	return nil
}

// probe writes and syncs a small file, as a segment would be.
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

// failed names a write that failed, and remembers that it did.
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
		s.opts.Logger.Error("no object can be stored, senders are answered A700H until this is over", "err", err)
	}
}

// recovered ends the trouble, if there was one.
func (s *Spool) recovered() {
	s.mu.Lock()
	was := s.trouble.err != nil
	s.trouble = trouble{}
	s.mu.Unlock()
	if was {
		s.opts.Logger.Info("objects are stored again")
	}
}
