package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/scp/secure"
)

const (
	slowSync  = 50 * time.Millisecond // median of a small durable write, above which C-STORE is slow
	slowWrite = 30                    // MB/s of a large durable write
	syncs     = 15
	written   = 16 << 20 // bytes of the large write
)

// state writes to the state folder, and measures its disk unless a node is using it.
func (r *report) state(c config.Config, measure bool) {
	const remedy = "; make it writable for this user, or set state to another folder"
	if err := os.MkdirAll(c.State, 0o750); err != nil {
		r.add(Failed, "state folder", err.Error()+remedy)
		return
	}
	f, err := os.CreateTemp(c.State, ".check-*")
	if err != nil {
		r.add(Failed, "state folder", err.Error()+remedy)
		return
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }() // of a test file
	var fs unix.Statfs_t
	if err := unix.Statfs(c.State, &fs); err != nil {
		r.add(Failed, "state folder", fmt.Sprintf("%s: %v", c.State, err))
		return
	}
	free, reserve := fs.Bavail*uint64(fs.Bsize)>>20, uint64(c.DICOM.ReserveMiB)
	switch {
	case free < reserve:
		r.add(Failed, "state folder", fmt.Sprintf("%s: %d MiB free, below dicom.reserve_mib %d: objects are refused; free disk space", c.State, free, reserve))
	case free < 2*reserve:
		r.add(Warning, "state folder", fmt.Sprintf("%s is writable, but only %d MiB are free; objects are refused below %d (dicom.reserve_mib)", c.State, free, reserve))
	default:
		r.add(OK, "state folder", fmt.Sprintf("%s is writable, %d GiB free", c.State, free>>10))
	}
	if measure && free > reserve+written>>20 {
		r.disk(f)
	}
}

// disk measures what C-STORE waits for: a small write with its sync; and the speed of a large one.
func (r *report) disk(f *os.File) {
	var took []time.Duration
	for range syncs {
		start := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil || f.Sync() != nil {
			r.add(Failed, "disk", fmt.Sprintf("%s cannot be written durably: %v", f.Name(), err))
			return
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	start := time.Now()
	if _, err := f.Write(make([]byte, written)); err != nil || f.Sync() != nil {
		r.add(Failed, "disk", fmt.Sprintf("%s cannot be written durably: %v", f.Name(), err))
		return
	}
	speed := float64(written) / 1e6 / time.Since(start).Seconds()
	detail := fmt.Sprintf("a durable write takes %v (median), %.0f MB/s", took[len(took)/2].Round(10*time.Microsecond), speed)
	if took[len(took)/2] > slowSync || speed < slowWrite {
		r.add(Warning, "disk", detail+"; C-STORE will be slow: put the state folder on an SSD")
		return
	}
	r.add(OK, "disk", detail)
}

// clock asks the kernel whether the clock is kept in step. Times in results and audit messages, certificates and retention depend
// on it.
func (r *report) clock() {
	var t unix.Timex
	state, err := unix.Adjtimex(&t) // reads only
	now := time.Now()
	detail := now.Format("2006-01-02 15:04:05 MST")
	switch {
	case now.Year() < 2026:
		r.add(Failed, "clock", detail+" is wrong; set the clock and start a time service")
	case err != nil:
		r.add(OK, "clock", detail+"; not known whether it is synchronized")
	case state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0:
		r.add(Warning, "clock", detail+", not synchronized; start chrony or systemd-timesyncd")
	default:
		r.add(OK, "clock", detail+", synchronized")
	}
}

// ports tries the addresses to listen on.
func (r *report) ports(ctx context.Context, c config.Config) {
	for _, e := range node.Entrances(c.DICOM) {
		if e.Address == config.Systemd { // if the unit is enabled, systemd already holds the port
			r.add(OK, e.Key, "passed by "+e.Unit+"; 'systemctl status "+e.Unit+"' shows whether it is active")
			continue
		}
		r.note(e.Key, e.Address+" is free", free(ctx, e.Address))
	}
	if c.HTTP.Listen != "" {
		r.note("http.listen", c.HTTP.Listen+" is free", free(ctx, c.HTTP.Listen))
	}
}

func free(ctx context.Context, address string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("%w; another program holds the port: stop it, or choose another port ('ss -ltnp' names the program)", err)
	}
	return l.Close()
}

// soon is the time before its end in which a certificate is a warning.
const soon = 30 * 24 * time.Hour

func (r *report) certificate(e secure.Expiry, now time.Time) {
	detail, err := e.Check(now)
	switch {
	case err != nil && e.List: // the old list stays in use
		r.add(Warning, "certificate", err.Error())
	case err == nil && !e.List && e.NotAfter.Sub(now) < soon:
		r.add(Warning, "certificate", detail)
	default:
		r.note("certificate", detail, err)
	}
}
