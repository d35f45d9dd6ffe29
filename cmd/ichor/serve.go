package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/node"
	"ichor/pipeline/finding"
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
		c, err := s.load()
		if err != nil {
			return err
		}
		log := newLogger(c.Log, os.Stderr)
		n, err := node.New(cmd.Context(), node.Options{Config: c, Version: version, Commit: commit(), Logger: log})
		if err != nil {
			return err
		}
		b := n.Engine().Bundle
		log.Info("ready", "dicom", n.Addrs(), "ae", c.DICOM.AETitle, "http", n.HTTPAddr(), "bundle", b.Name+" "+b.Version,
			"provider", c.Analysis.Provider, "precision", n.Engine().Precision, "chosen", n.Engine().Why, "note", finding.Disclaimer)
		n.AnnounceReady(cmd.Context())
		return errors.Join(n.Run(cmd.Context()), n.Close())
	}
	return cmd
}
