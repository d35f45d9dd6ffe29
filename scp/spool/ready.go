package spool

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// trouble is why the spool takes nothing at the moment, guarded by Spool.mu.
type trouble struct {
	err    error     // nil: none
	write  bool      // a write failed, so free space alone does not end it
	probed time.Time // last attempt to write in spite of it
}

// probePause is the time between two attempts to write to a disk that failed.
const probePause = time.Second

// Ready says why no object can be taken, nil if it can: ErrNoSpace, ErrUnwritable. Create asks it before any data is
// taken. It tries a failed disk again, so that a node recovers without a restart, and logs both changes once.
func (s *Spool) Ready() error {
	err := s.room(1)
	if errors.Is(err, ErrNoSpace) && s.giveUp() {
		err = s.room(1)
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

// room compares the free space with the n-th part of the reserve.
func (s *Spool) room(n int64) error {
	free, err := s.disk.free(s.opts.Dir)
	if err != nil {
		return diskError("free space", err)
	}
	if reserve := s.opts.ReserveBytes / n; reserve > 0 && free < uint64(reserve) {
		return fmt.Errorf("%d MiB free, %d are kept in reserve: %w", free>>20, reserve>>20, ErrNoSpace)
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
		s.opts.Logger.Error("no object can be taken, senders are answered A700H; free some space or mend the disk", "err", err)
	}
}

// recovered ends the trouble, if there was one.
func (s *Spool) recovered() {
	s.mu.Lock()
	was := s.trouble.err != nil
	s.trouble = trouble{}
	s.mu.Unlock()
	if was {
		s.opts.Logger.Info("objects are taken again")
	}
}

// diskError names what failed: ErrNoSpace for a full disk, quota or file size limit, ErrUnwritable for all else that a
// file system may answer.
func diskError(what string, err error) error {
	switch {
	case errors.Is(err, ErrNoSpace), errors.Is(err, ErrUnwritable), errors.Is(err, ErrClosed):
		return fmt.Errorf("%s: %w", what, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("%s: %w: %w", what, ErrNoSpace, err)
	}
	return fmt.Errorf("%s: %w: %w", what, ErrUnwritable, err)
}
