package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"ichor/pipeline/state"
)

// AnnounceReady tells systemd that the service is ready (Type=notify) and, when ctx is done, that it is stopping. Without
// systemd it does nothing.
func (n *Node) AnnounceReady(ctx context.Context) {
	announce(n.log, daemon.SdNotifyReady)
	context.AfterFunc(ctx, func() {
		announce(n.log, daemon.SdNotifyStopping+"\nSTATUS=stopping: work in progress may end, the rest resumes at the next start")
	})
}

// AnnounceReload tells systemd that the configuration is being read again.
func (n *Node) AnnounceReload() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // cannot fail
	announce(n.log, fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
}

// AnnounceReloaded tells systemd that reading has ended, and with what.
func (n *Node) AnnounceReloaded() { announce(n.log, daemon.SdNotifyReady+"\nSTATUS="+n.status()) }

func announce(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd notification failed", "err", err)
	}
}

// errHangs: a check of the watchdog did not return.
var errHangs = errors.New("a lock of reception, queue or state is not released")

// watchdog tells systemd at a quarter of the watchdog interval, if the unit sets one, that the node moves.
func (n *Node) watchdog(ctx context.Context, alive func() error) error {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return err
	}
	tick := time.NewTicker(interval / 4)
	defer tick.Stop()
	beats(ctx, tick.C, alive, func() { announce(n.log, daemon.SdNotifyWatchdog) }, func(err error) {
		n.log.Error("the node hangs; systemd restarts it unless it recovers", "err", err, "within", interval)
	})
	return nil
}

// statusInterval is the time between two looks at what to tell in 'systemctl status'.
const statusInterval = 5 * time.Second

// tellStatus keeps the STATUS line of systemd up to date, until ctx is done.
func (n *Node) tellStatus(ctx context.Context) error {
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	last := ""
	for {
		if now := n.status(); now != last {
			announce(n.log, "STATUS="+now)
			last = now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// status is what the node does, in one line.
func (n *Node) status() string {
	if err := n.Ready(); err != nil {
		return "not ready: " + err.Error()
	}
	counts, err := n.store.Counts()
	if err != nil {
		return "not ready: " + err.Error()
	}
	pending, dead := 0, 0
	for _, d := range counts.Deliveries {
		pending += d[state.Pending]
		dead += d[state.Dead]
	}
	line := fmt.Sprintf("%d associations; %d studies arriving, %d to analyse; %d results to deliver, %d undeliverable",
		n.server.Associations(), counts.Cases[state.Receiving], counts.Cases[state.Queued], pending, dead)
	if why := n.unused(); why != "" {
		line = why + "; " + line
	}
	return line
}
