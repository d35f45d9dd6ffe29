package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ichor/reporting/web"
)

func newDeadLetters() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "dead-letters",
		Short:   "List analyses and deliveries that the running node gave up, with reason and remedy",
		Example: "  ichor dead-letters\n  ichor dead-letters --json\n  ichor dead-letters discard d42",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		n, err := running(s)
		if err != nil {
			return err
		}
		var list []web.DeadLetter
		if err := n.get("dead-letters", &list); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), list)
		}
		return printLetters(cmd.OutOrStdout(), list)
	}
	cmd.AddCommand(newDiscard())
	return cmd
}

func newDiscard() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "discard LETTER...",
		Short:   "Discard dead letters permanently, so that retention can delete their studies",
		Example: "  ichor dead-letters discard d42",
		Args:    cobra.MinimumNArgs(1),
	}
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		done, err := give(s, "dead-letters/discard", web.Selection{IDs: args})
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d dead letters discarded\n", done.Count)
		return nil
	}
	return cmd
}

func printLetters(w io.Writer, list []web.DeadLetter) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no dead letters")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "letter\tgiven up\tcase\twhat\ttries")
	for _, l := range list {
		what := l.Kind
		if l.Destination != "" {
			what = l.Object + " to " + l.Destination
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\n", l.ID, l.At.Local().Format(time.DateTime), l.Case, what, l.Tries)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, l := range list {
		fmt.Fprintf(w, "\n%s: %s\n  %s\n", l.ID, strings.Join(strings.Fields(l.Reason), " "), l.Remedy)
	}
	return nil
}
