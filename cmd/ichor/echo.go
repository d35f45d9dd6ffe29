package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newEcho() *cobra.Command {
	var p peerFlags
	cmd := &cobra.Command{
		Use:   "echo HOST:PORT",
		Short: "Check whether a DICOM peer answers (C-ECHO)",
		Example: "  ichor echo 127.0.0.1:11112 --called ICHOR\n" +
			"  ichor echo pacs.example.org:2762 --called PACS --tls --tls-ca ca.pem --tls-certificate node.pem --tls-key node.key",
		Args: cobra.ExactArgs(1),
	}
	p.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		start := time.Now()
		if err := p.echo(cmd.Context(), args[0]); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s (%s) answers, %v\n", args[0], p.called, time.Since(start).Round(time.Millisecond))
		return nil
	}
	return cmd
}
