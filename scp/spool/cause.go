package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// causes are what the system answers, what that means for senders, and what an operator can do.
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

// cause returns the remedy for an error of the system and what the error means; ErrUnwritable if it is not in the table.
func cause(err error) (remedy string, means error) {
	for _, c := range causes {
		if errors.Is(err, c.errno) {
			return c.remedy, c.means
		}
	}
	return checkDisk, ErrUnwritable
}

// diskError names what failed, why, and what to do.
func diskError(what string, err error) error {
	for _, known := range []error{ErrNoSpace, ErrUnwritable, ErrResources, ErrClosed} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	remedy, means := cause(err)
	return fmt.Errorf("%s: %w: %w; %s", what, means, err, remedy)
}

// folderError names a folder that cannot be used and what to do.
func folderError(dir string, err error) error {
	remedy, _ := cause(err)
	return fmt.Errorf("spool folder %s: %w; %s", dir, err, remedy)
}

// unread reports whether err says that bytes could not be read, such as EIO and ESTALE. What they are is not known
// then, so the record that holds them is not called damaged. A file that is gone is damage.
func unread(err error) bool {
	return errors.As(err, new(syscall.Errno)) && !errors.Is(err, fs.ErrNotExist)
}

// ofProcess reports whether err says that this process may not or cannot open another file: nothing about the file.
func ofProcess(err error) bool {
	_, means := cause(err)
	return errors.Is(means, ErrResources) || errors.Is(err, fs.ErrPermission)
}
