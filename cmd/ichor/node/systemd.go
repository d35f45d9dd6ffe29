package node

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// AnnounceReady tells systemd that the service is ready (Type=notify) and, when ctx is done, that it is stopping. Without
// systemd it does nothing.
func (n *Node) AnnounceReady(ctx context.Context) {
	announce(n.log, daemon.SdNotifyReady)
	context.AfterFunc(ctx, func() { announce(n.log, daemon.SdNotifyStopping) })
}

func announce(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd notification failed", "err", err)
	}
}

// watchdog notifies systemd at half the watchdog interval that the node is alive, if the unit sets one.
func (n *Node) watchdog(ctx context.Context, alive func() error) error {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return err
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if alive() == nil { // not Ready: a restart does not free a full disk
				announce(n.log, daemon.SdNotifyWatchdog)
			}
		}
	}
}
