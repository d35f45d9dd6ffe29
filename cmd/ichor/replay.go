package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"ichor/reporting/web"
)

func newReplay() *cobra.Command {
	var destination string
	cmd := &cobra.Command{
		Use:     "replay [LETTER...]",
		Short:   "Resend deliveries that the running node gave up",
		Long:    "replay schedules dead deliveries again: those named, those of one destination, or all.\nThe objects keep their UIDs, so a destination never stores one twice.",
		Example: "  ichor replay\n  ichor replay --destination pacs\n  ichor replay d42 d43",
	}
	cmd.Flags().StringVar(&destination, "destination", "", "only deliveries to the destination with this `NAME`")
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		done, err := give(s, "dead-letters/replay", web.Selection{IDs: args, Destination: destination})
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d deliveries will be sent again\n", done.Count)
		return nil
	}
	return cmd
}
