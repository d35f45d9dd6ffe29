package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newSend() *cobra.Command {
	var p peerFlags
	cmd := &cobra.Command{
		Use:     "send HOST:PORT DIR",
		Short:   "Send the DICOM files in a folder to a peer (C-STORE)",
		Example: "  ichor send 127.0.0.1:11112 study/ --called ICHOR",
		Args:    cobra.ExactArgs(2),
	}
	p.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		files, others, err := findDICOM(cmd.Context(), args[1])
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("no DICOM file below %s (%d other files); name the folder that contains the study", args[1], others)
		}
		start := time.Now()
		if err := p.send(cmd.Context(), args[0], files); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d objects stored by %s (%s), %v\n", len(files), args[0], p.called, time.Since(start).Round(time.Millisecond))
		return nil
	}
	return cmd
}
