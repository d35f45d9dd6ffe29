package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// causes maps errors of the system to what they mean for senders and what an operator can do.
var causes = []struct {
	errno  syscall.Errno
	means  error
	remedy string
}{
	{syscall.ENOSPC, ErrNoSpace, "free disk space"},
	{syscall.EDQUOT, ErrNoSpace, "raise the disk quota of this user"},
	{syscall.EFBIG, ErrNoSpace, "raise the file size limit of this process"},
	{syscall.EROFS, ErrUnwritable, "make the file system writable again"},
	{syscall.EACCES, ErrUnwritable, "make it writable for this user or choose another folder"},
	{syscall.EPERM, ErrUnwritable, "make it writable for this user or choose another folder"},
	{syscall.ENOTDIR, ErrUnwritable, "choose another folder"},
	{syscall.EMFILE, ErrResources, "raise the limit of open files (LimitNOFILE)"},
	{syscall.ENFILE, ErrResources, "raise the limit of open files of the system (fs.file-max)"},
	{syscall.ENOMEM, ErrResources, "free memory"},
}

const checkDisk = "check the disk and its connection"

// cause returns the remedy for an error of the system, and its meaning: ErrUnwritable if it is not in the table.
func cause(err error) (remedy string, means error) {
	for _, c := range causes {
		if errors.Is(err, c.errno) {
			return c.remedy, c.means
		}
	}
	return checkDisk, ErrUnwritable
}

// diskError returns an error that says what failed, why, and what to do.
func diskError(what string, err error) error {
	for _, known := range []error{ErrNoSpace, ErrUnwritable, ErrResources, ErrClosed} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	remedy, means := cause(err)
	return fmt.Errorf("%s: %w: %w; %s", what, means, err, remedy)
}

// folderError returns an error that names an unusable folder and says what to do.
func folderError(dir string, err error) error {
	remedy, _ := cause(err)
	return fmt.Errorf("spool folder %s: %w; %s", dir, err, remedy)
}

// unread reports whether err says that bytes could not be read, such as EIO and ESTALE. The bytes may be good, so the record
// does not count as damaged. A missing file counts as damage.
func unread(err error) bool {
	return errors.As(err, new(syscall.Errno)) && !errors.Is(err, fs.ErrNotExist)
}

// ofProcess reports whether err says that this process cannot open more files or lacks permission; it says nothing about the
// file.
func ofProcess(err error) bool {
	_, means := cause(err)
	return errors.Is(means, ErrResources) || errors.Is(err, fs.ErrPermission)
}
