package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/scp/secure"
)

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the node: receive, analyse, report, deliver",
		Long: "serve receives studies over DICOM, analyses them and delivers the results to the configured destinations.\n" +
			"Without a configuration it listens on loopback and uses the embedded queue and CPU inference.\n" +
			"The first SIGTERM or Ctrl-C lets running work finish; a second one stops immediately. Nothing acknowledged is lost.\n\n" +
			finding.Disclaimer,
		Example: "  ichor serve\n  ichor serve --config /etc/ichor/ichor.yaml",
		Args:    cobra.NoArgs,
	}
	s := withSettings(cmd, serveFlags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		start := time.Now()
		neverDump()
		c, err := s.load()
		if err != nil {
			return refusedConfig{err}
		}
		hup := make(chan os.Signal, 1) // from now on SIGHUP no longer ends the process
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
		level := new(slog.LevelVar)
		log := newLogger(c.Log, level, os.Stderr)
		log.Info("starting", "version", versionText(), "configuration", c.Source, "state", c.State, "peers", peerNames(c), "destinations", destinationNames(c))
		n, err := node.New(cmd.Context(), node.Options{Config: c, Version: version, Commit: commit(), Logger: log})
		if errors.Is(err, node.ErrConfig) || errors.Is(err, state.ErrVersion) || errors.As(err, new(*secure.FileError)) || errors.As(err, new(*config.TokenError)) {
			return refusedConfig{err}
		}
		if err != nil {
			return err
		}
		n.AnnounceReady(cmd.Context())
		stopping := context.AfterFunc(cmd.Context(), func() { log.Info("stopping: finishing what has begun") })
		var reloading sync.WaitGroup
		ctx, stop := context.WithCancel(cmd.Context())
		reloading.Go(func() { reload(ctx, hup, s, n, log, level) })
		err = n.Run(ctx)
		stop()
		reloading.Wait()
		err = errors.Join(err, n.Close())
		stopping()
		if err == nil {
			log.Info("stopped", "ran", time.Since(start).Round(time.Second))
		}
		return err
	}
	return cmd
}

// peerNames names who may send.
func peerNames(c config.Config) string {
	if len(c.DICOM.Peers) == 0 {
		return "any on this machine"
	}
	var names []string
	for _, p := range c.DICOM.Peers {
		names = append(names, p.AETitle)
	}
	return strings.Join(names, " ")
}

// destinationNames names who gets results.
func destinationNames(c config.Config) string {
	if len(c.Destinations) == 0 {
		return "none"
	}
	var names []string
	for _, d := range c.Destinations {
		names = append(names, fmt.Sprintf("%s=%s", d.Name, cmp.Or(d.URL, d.AETitle+"@"+d.Address)))
	}
	return strings.Join(names, " ")
}
