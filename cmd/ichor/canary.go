package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"ichor/reporting/web"
)

func newCanary() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "canary",
		Short: "Send a synthetic head through the running node, and compare the volumes with the truth",
		Long: "canary runs the self-test that the node also runs at its start and once a day: a synthetic head passes through the\n" +
			"whole node, from C-STORE to delivery. Its results go to no destination, unless canary.deliver names it.",
		Example: "  ichor canary",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		bar := progress(-1, "self-test")
		done, err := give(s, "canary", web.Selection{})
		_ = bar.Finish() // ignore drawing errors
		if err != nil {
			return err
		}
		if asJSON {
			err = printJSON(cmd.OutOrStdout(), done.Canary)
		} else if done.Canary.OK {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "passed in %v: %s\n", done.Canary.Took, done.Canary.Result)
		}
		if !done.Canary.OK {
			err = errors.Join(err, fmt.Errorf("the self-test failed: %s", done.Canary.Result))
		}
		return err
	}
	return cmd
}
