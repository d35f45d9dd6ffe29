package main

import (
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"ichor/reporting/web"
)

func newRetry() *cobra.Command {
	var failed bool
	cmd := &cobra.Command{
		Use:     "retry CASE | --failed",
		Short:   "Analyse a case of the running node again, or all failed cases",
		Long:    "retry makes the running node analyse a finished case again, from the images it has stored.\nThe same images and networks give the same objects, and objects already delivered are not sent again.",
		Example: "  ichor retry 3f2a9c0d11e4b7a6\n  ichor retry --failed",
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&failed, "failed", false, "every case whose analysis was given up")
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path := "retry-failed"
		switch {
		case failed == (len(args) == 1):
			return usageError("name a case, or use --failed")
		case !failed:
			path = "cases/" + url.PathEscape(args[0]) + "/retry"
		}
		done, err := give(s, path, web.Selection{})
		if err != nil {
			return err
		}
		for _, id := range done.Cases {
			fmt.Fprintf(cmd.OutOrStdout(), "case %s will be analysed again\n", id)
		}
		if done.Count == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "no failed case whose images are still stored")
		}
		return nil
	}
	return cmd
}
