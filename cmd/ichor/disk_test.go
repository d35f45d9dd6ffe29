package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// disks makes the disk slow for processes of a fleet: the kernel delays their writes, those of fsync included. It needs root and the
// blkio controller of control groups, version 1. The methods of nil do nothing.
type disks struct {
	t      testing.TB
	device string // major:minor
	prefix string // of the control groups, a path
}

const (
	blkio = "/sys/fs/cgroup/blkio"
	// slowWrites is how many writes a second a slow disk does: an object that is received takes about three.
	slowWrites = 10
)

// newDisks returns nil where this process may not make the disk of dir slow.
func newDisks(t testing.TB, dir string) *disks {
	t.Helper()
	var s syscall.Stat_t
	if err := syscall.Stat(dir, &s); err != nil {
		t.Fatal(err)
	}
	major, minor := s.Dev>>8&0xfff, s.Dev&0xff|s.Dev>>12&0xfff00
	d := &disks{t: t, device: fmt.Sprintf("%d:%d", major, minor), prefix: filepath.Join(blkio, fmt.Sprintf("ichor%d", os.Getpid()))}
	whole, err := filepath.EvalSymlinks("/sys/dev/block/" + d.device) // writes are limited for a disk, not for a partition
	if err == nil {
		if _, e := os.Stat(filepath.Join(whole, "partition")); e == nil {
			raw, e := os.ReadFile(filepath.Join(filepath.Dir(whole), "dev"))
			d.device, err = strings.TrimSpace(string(raw)), e
		}
	}
	if err == nil {
		err = d.group("try", 0)
	}
	if err == nil {
		err = d.limit("try", slowWrites)
	}
	t.Cleanup(func() {
		groups, _ := filepath.Glob(d.prefix + "*") // the pattern is valid
		for _, group := range groups {
			if err := os.Remove(group); err != nil {
				t.Logf("control group left: %v", err)
			}
		}
	})
	if err != nil {
		t.Logf("no slow disks, they need root and %s with the limits of %s: %v", blkio, d.device, err)
		return nil
	}
	return d
}

// group moves a process to the control group of a member; pid 0: none.
func (d *disks) group(name string, pid int) error {
	if d == nil {
		return nil
	}
	if err := os.MkdirAll(d.prefix+name, 0o755); err != nil || pid == 0 {
		return err
	}
	return os.WriteFile(filepath.Join(d.prefix+name, "cgroup.procs"), fmt.Append(nil, pid), 0)
}

func (d *disks) limit(name string, writes int) error {
	return os.WriteFile(filepath.Join(d.prefix+name, "blkio.throttle.write_iops_device"), fmt.Appendf(nil, "%s %d", d.device, writes), 0)
}

// slow makes the disk of a member slow, or quick again.
func (d *disks) slow(name string, slow bool) {
	writes := 0 // no limit
	if slow {
		writes = slowWrites
	}
	if err := d.limit(name, writes); err != nil {
		d.t.Error(err)
	}
}
