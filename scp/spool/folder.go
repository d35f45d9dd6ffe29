package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// disk has the file operations; tests replace them.
type disk struct {
	free   func(dir string) (uint64, error)
	sync   func(*os.File) error
	read   func(f *os.File, p []byte, off int64) (int, error)
	write  func(f *os.File, p []byte, off int64) error
	begin  func(f *os.File, from, to int64) // writing these bytes to the disk, without waiting for it
	list   func(dir string) error           // makes the file names in dir durable
	remove func(path string) error
}

func realDisk() disk {
	return disk{
		free: func(dir string) (uint64, error) {
			var st unix.Statfs_t
			if err := unix.Statfs(dir, &st); err != nil {
				return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
			}
			if st.Flags&unix.ST_RDONLY != 0 {
				return 0, &os.PathError{Op: "statfs", Path: dir, Err: syscall.EROFS}
			}
			return st.Bavail * uint64(st.Bsize), nil
		},
		sync: func(f *os.File) error {
			for {
				if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
					return os.NewSyscallError("fdatasync", err)
				}
			}
		},
		read: (*os.File).ReadAt,
		write: func(f *os.File, p []byte, off int64) error {
			_, err := f.WriteAt(p, off)
			return err
		},
		begin: func(f *os.File, from, to int64) { // sync waits for it and has its errors
			_ = unix.SyncFileRange(int(f.Fd()), from, to-from, unix.SYNC_FILE_RANGE_WRITE)
		},
		list:   syncFolder,
		remove: os.Remove,
	}
}

// file is an open file read through disk.
type file struct {
	*os.File
	disk disk
}

func (s *Spool) file(f *os.File) file { return file{f, s.disk} }

// ReadAt reads from the disk; it never returns a system error as io.EOF.
func (f file) ReadAt(p []byte, off int64) (int, error) { return f.disk.read(f.File, p, off) }

// takeFolder creates the folder, locks it against other processes, and tests whether it can be written. If not, because the
// disk is read-only, failing, or full even without the spares, it records this and returns no error.
func (s *Spool) takeFolder() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return folderError(s.opts.Dir, err)
	}
	lock, err := lockFolder(s.opts.Dir, os.O_CREATE)
	if err != nil {
		return err
	}
	s.lock = lock
	err = s.reserved(1)
	if err == nil {
		err = s.probe()
	}
	if err != nil {
		if _, means := cause(err); errors.Is(err, ErrNoSpace) || means == ErrNoSpace {
			removeSpares(s.dir) // before anything is written
			err = errors.Join(s.reserved(1), s.probe())
		}
	}
	switch {
	case err == nil:
	case ofProcess(err) || errors.Is(err, syscall.ENOTDIR):
		lock.Close()
		return folderError(s.opts.Dir, err)
	default:
		s.failed("trying the disk", err)
		return nil
	}
	if err := errors.Join(s.disk.list(s.dir), s.disk.list(s.opts.Dir), s.disk.list(filepath.Dir(s.opts.Dir))); err != nil {
		s.failed("trying the disk", err)
	}
	return nil
}

// lockFolder locks a spool folder. This also works on a read-only file system.
func lockFolder(dir string, create int) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	lock, err := os.OpenFile(path, create|os.O_RDWR, 0o600)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC) {
		if there, readOnly := os.Open(path); readOnly == nil {
			lock, err = there, nil
		}
	}
	if err != nil {
		return nil, folderError(dir, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("spool folder %s is in use by another process; stop that process or choose another folder", dir)
		}
		return nil, fmt.Errorf("spool folder %s: lock: %w; choose a folder on a local disk", dir, err)
	}
	return lock, nil
}

// MakeRoom deletes the preallocated files of an earlier run in dir if less than below bytes are free on its disk. A node
// calls it before it opens its own files, which it could not write otherwise. It does nothing if the spool is in use or
// missing.
func MakeRoom(dir string, below int64) { makeRoom(dir, below, realDisk()) }

func makeRoom(dir string, below int64, d disk) {
	free, err := d.free(dir)
	if err != nil || below <= 0 || free >= uint64(below) {
		return
	}
	lock, err := lockFolder(dir, 0)
	if err != nil {
		return // Open will report it
	}
	defer lock.Close()
	removeSpares(filepath.Join(dir, "segments"))
}

// removeSpares deletes the preallocated files. The lock is held, and no spare is known yet.
func removeSpares(dir string) {
	entries, _ := os.ReadDir(dir) // Open reads it again and reports errors
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), sparePrefix) {
			os.Remove(filepath.Join(dir, e.Name())) // if this fails, the disk stays full, which is reported
		}
	}
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		if os.IsPermission(err) { // the parent folder belongs to another user
			return nil
		}
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // not every file system supports it
		return err
	}
	return nil
}
