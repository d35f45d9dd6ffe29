package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"ichor/pipeline/finding"
)

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the node: receive, analyse, report, deliver",
		Long: "serve receives studies over DICOM, analyses them and delivers the results to the configured destinations.\n" +
			"Without a configuration it listens on loopback, with an embedded queue and CPU inference.\n" +
			"The first SIGTERM or Ctrl-C lets the work in hand finish; a second one ends at once. Nothing acknowledged is lost.\n\n" +
			finding.Disclaimer,
		Example: "  ichor serve\n  ichor serve --config /etc/ichor/ichor.yaml",
		Args:    cobra.NoArgs,
	}
	s := withSettings(cmd, serveFlags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.load()
		if err != nil {
			return err
		}
		log := newLogger(c.Log, os.Stderr)
		n, err := newNode(cmd.Context(), c, log)
		if err != nil {
			return err
		}
		log.Info("ready", "dicom", n.dicom.String(), "ae", c.DICOM.AETitle, "http", n.httpAddr(),
			"bundle", n.engine.bundle.Name+" "+n.engine.bundle.Version, "provider", c.Analysis.Provider, "note", finding.Disclaimer)
		notify(log, daemon.SdNotifyReady)
		context.AfterFunc(cmd.Context(), func() { notify(log, daemon.SdNotifyStopping) })
		return errors.Join(n.run(cmd.Context()), n.Close())
	}
	return cmd
}

// notify tells systemd how far the service is (Type=notify); elsewhere it does nothing.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("service manager not told", "err", err)
	}
}

// run works until ctx is done, then drains: each part takes nothing new and has a time of its own to finish what it has
// in hand. What they leave is on disk, and resume takes it up.
func (n *node) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.server.Serve(ctx, n.dicom...) })
	g.Go(func() error { return n.assembler.Run(ctx) })
	g.Go(func() error { return n.queue.Work(ctx, n.config.Analysis.Workers, n.analyse) })
	g.Go(func() error { return n.deliverer.Run(ctx) })
	g.Go(func() error { return n.rejectLate(ctx) })
	g.Go(func() error { return n.reporter.Run(ctx) })
	g.Go(func() error { return n.count(ctx) })
	g.Go(func() error { return n.sweep(ctx) })
	g.Go(func() error { return n.scrub(ctx) })
	g.Go(func() error { return n.spool.Prepare(ctx) })
	g.Go(func() error { return n.watchdog(ctx) })
	if n.http != nil {
		g.Go(func() error { return n.serveHTTP(ctx) })
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// httpGrace is what requests in flight get when the node stops.
const httpGrace = 5 * time.Second

// serveHTTP answers until ctx is done. Requests that then take longer than httpGrace are cut off.
func (n *node) serveHTTP(ctx context.Context) error {
	server := &http.Server{Handler: n.web(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpGrace)
		defer cancel()
		err := server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		stopped <- err
	})
	err := server.Serve(n.http)
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("web interface: %w", err)
	}
	return <-stopped
}

// watchdog tells systemd at half its interval that the node lives, where the unit asks for that.
func (n *node) watchdog(ctx context.Context) error {
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
			if n.alive() == nil { // not ready: a restart empties no disk
				notify(n.log, daemon.SdNotifyWatchdog)
			}
		}
	}
}

// listen opens a TCP address, and says what to do where that cannot be.
func listen(ctx context.Context, key, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if errors.Is(err, fs.ErrPermission) && key != "http.listen" {
		return nil, fmt.Errorf("%s %s: %w; a port below 1024 comes from systemd: enable its socket unit and write systemd under %s", key, address, err, key)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w; stop what holds the port, or choose another under %s", key, address, err, key)
	}
	return l, nil
}
