package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ichor/config"
	"ichor/reporting/web"
)

// nodeFlags say how to reach the running node.
var nodeFlags = map[string]string{"http": "http.listen", "token": "http.token"}

// api is the address of the running node's interface.
func api(c config.Config, path string) (string, error) {
	if c.HTTP.Listen == "" {
		return "", errors.New("http.listen is empty, so the node cannot be asked; set it and restart the node")
	}
	return "http://" + c.HTTP.Listen + "/api/v1/" + path, nil
}

// give gives the running node an order.
func give(s *settings, path string, order web.Selection) (done web.Done, err error) {
	c, err := s.load()
	if err != nil {
		return done, err
	}
	address, err := api(c, path)
	if err != nil {
		return done, err
	}
	return done, post(address, c.HTTP.Token, order, &done)
}

func newRetry() *cobra.Command {
	var failed bool
	cmd := &cobra.Command{
		Use:     "retry CASE | --failed",
		Short:   "Analyse a case of the running node again, or all that failed",
		Long:    "retry asks the running node for another analysis of a case that has ended, from the images that it keeps.\nThe same images and networks give the same objects, and what was delivered is not sent again.",
		Example: "  ichor retry 3f2a9c0d11e4b7a6\n  ichor retry --failed",
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&failed, "failed", false, "every case whose analysis was given up")
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path := "retry-failed"
		switch {
		case failed == (len(args) == 1):
			return usageError("name a case, or write --failed")
		case !failed:
			path = "cases/" + url.PathEscape(args[0]) + "/retry"
		}
		done, err := give(s, path, web.Selection{})
		if err != nil {
			return err
		}
		for _, id := range done.Cases {
			fmt.Fprintf(cmd.OutOrStdout(), "case %s is analysed again\n", id)
		}
		if done.Count == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "no failed case whose images are still here")
		}
		return nil
	}
	return cmd
}

func newReplay() *cobra.Command {
	var destination string
	cmd := &cobra.Command{
		Use:     "replay [LETTER...]",
		Short:   "Send again what the running node gave up to deliver",
		Long:    "replay makes dead letters of deliveries due again: those named, those of one destination, or all.\nThe objects keep their UIDs, so a destination never has one twice.",
		Example: "  ichor replay\n  ichor replay --destination pacs\n  ichor replay d42 d43",
	}
	cmd.Flags().StringVar(&destination, "destination", "", "only those of the destination with this `NAME`")
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		done, err := give(s, "dead-letters/replay", web.Selection{IDs: args, Destination: destination})
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d deliveries are due again\n", done.Count)
		return nil
	}
	return cmd
}

func newDeadLetters() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "dead-letters",
		Short:   "List what the running node gave up: analyses and deliveries, with reason and remedy",
		Example: "  ichor dead-letters\n  ichor dead-letters --json\n  ichor dead-letters discard d42",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.load()
		if err != nil {
			return err
		}
		address, err := api(c, "dead-letters")
		if err != nil {
			return err
		}
		var list []web.DeadLetter
		if err := get(address, c.HTTP.Token, &list); err != nil {
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
		Short:   "Give up dead letters for good, so that retention may remove their studies",
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
