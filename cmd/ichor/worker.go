package main

import (
	"errors"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/node"
	"ichor/pipeline/finding"
	"ichor/scp/secure"
)

func newWorker() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Analyse studies for the nodes that share a NATS server",
		Long: "worker takes analysis jobs of all nodes at queue.url, urgent ones first. It gets the pixels from the node of a study over HTTPS\n" +
			"with certificates of both sides, and brings finding and masks back. It keeps nothing; a job whose worker is lost is given to\n" +
			"another one. Version, bundle and settings of the analysis must be those of the node; otherwise the job stays, and the node and\n" +
			"this log say why. The first SIGTERM or Ctrl-C lets running work finish; a second one stops immediately.\n\n" + finding.Disclaimer,
		Example: "  ichor worker --config /etc/ichor/ichor.yaml\n  ichor worker --queue nats://nats1:4222 --config worker.yaml",
		Args:    cobra.NoArgs,
	}
	s := withSettings(cmd, workerFlags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		neverDump()
		c, err := s.load()
		if err != nil {
			return refusedConfig{err}
		}
		if c.Analysis.Workers < 1 {
			return refusedConfig{errors.New("analysis.workers 0: a worker needs at least 1")}
		}
		log := newLogger(c.Log, new(slog.LevelVar), os.Stderr)
		w, err := node.NewWorker(cmd.Context(), node.Options{Config: c, Version: version, Logger: log})
		if errors.As(err, new(*secure.FileError)) {
			return refusedConfig{err}
		}
		if err != nil {
			return err
		}
		b := w.Engine().Bundle
		log.Info("ready", "bundle", b.Name+" "+b.Version, "provider", c.Analysis.Provider, "precision", w.Engine().Precision, "chosen", w.Engine().Why, "note", finding.Disclaimer)
		return errors.Join(w.Run(cmd.Context()), w.Close())
	}
	return cmd
}
