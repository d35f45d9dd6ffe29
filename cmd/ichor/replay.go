package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newReplay() *cobra.Command {
	var destination string
	var yes bool
	cmd := &cobra.Command{
		Use:   "replay [LETTER | GROUP]...",
		Short: "Resend deliveries that the running node gave up",
		Long: "replay schedules dead deliveries again: those named, a group of 'ichor dead-letters', those of one destination, or all.\n" +
			"The objects keep their UIDs, so a destination never stores one twice.",
		Example: "  ichor replay\n  ichor replay --destination pacs\n  ichor replay g1f0a2b3c\n  ichor replay d42 d43",
	}
	cmd.Flags().StringVar(&destination, "destination", "", "only deliveries to the destination with this `NAME`")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		chosen, count, err := chosenLetters(s, args, destination)
		if err != nil {
			return err
		}
		if len(chosen.IDs) == 0 && count > 0 {
			if err := confirm(cmd, yes, fmt.Sprintf("Send %s again?", letters(count))); err != nil {
				return err
			}
		}
		done, err := give(s, "dead-letters/replay", chosen)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d deliveries will be sent again\n", done.Count)
		return nil
	}
	return cmd
}
