package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/node"
	"ichor/reporting/events"
)

func newEvents() *cobra.Command {
	var asJSON bool
	var kind, id string
	var since time.Duration
	var limit int
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show the event log: what was received, analysed, delivered, refused and changed, and who looked",
		Long: "events reads the event log of a node, also beside one that is running. The log names patients and studies, so only root\n" +
			"and the service's group may read it.",
		Example: "  ichor events\n  ichor events --case 3f2a9c0d11e4b7a6\n  ichor events --kind refused --since 24h --json\n  ichor events verify",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	cmd.Flags().StringVar(&kind, "kind", "", "only entries of this `KIND`: started, stopped, association, received, analysed, delivered, 'gave up', refused, changed, removed, looked, canary")
	cmd.Flags().StringVar(&id, "case", "", "only entries about the case with this `ID`")
	cmd.Flags().DurationVar(&since, "since", 0, "only entries of the last `TIME`, such as 24h")
	cmd.Flags().IntVar(&limit, "limit", 100, "the newest `N` entries; 0: all")
	s := withSettings(cmd, map[string]string{"state": "state"})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.load()
		if err != nil {
			return err
		}
		var list []events.Event
		err = events.Read(node.EventsDir(c), 0, func(e events.Event) error {
			if kind != "" && string(e.Kind) != kind || id != "" && !strings.Contains(e.Case, id) || since > 0 && time.Since(e.At) > since {
				return nil
			}
			list = append(list, e)
			if limit > 0 && len(list) > 2*limit {
				list = append(list[:0], list[len(list)-limit:]...)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if limit > 0 && len(list) > limit {
			list = list[len(list)-limit:]
		}
		return printEvents(cmd.OutOrStdout(), list, asJSON)
	}
	cmd.AddCommand(newEventsVerify())
	return cmd
}

func printEvents(w io.Writer, list []events.Event, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		for _, x := range list {
			if err := e.Encode(x); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range list {
		var words []string
		for _, f := range []struct{ name, value string }{{"case", e.Case}, {"peer", e.Peer}, {"from", e.Address}, {"user", e.User}, {"to", e.Destination},
			{"", e.Outcome}, {"bundle", e.Bundle}, {"", e.Settings}, {"", e.Detail}} {
			if f.value != "" {
				words = append(words, strings.TrimSpace(f.name+" "+f.value))
			}
		}
		if e.Objects > 0 {
			words = append(words, fmt.Sprintf("%d objects", e.Objects))
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\n", e.Number, e.At.Local().Format(time.DateTime), e.Kind, strings.Join(words, ", "))
	}
	return t.Flush()
}

func newEventsVerify() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that no entry of the event log was changed, removed or added",
		Long: "verify checks the chain of digests of the whole event log and prints the digest of its last entry. The node writes the\n" +
			"same digest to its own log once a day: compare the two to find a log that was rewritten as a whole.",
		Example: "  ichor events verify",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	s := withSettings(cmd, map[string]string{"state": "state"})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.load()
		if err != nil {
			return err
		}
		p, err := events.Verify(node.EventsDir(c))
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), p)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d entries are as they were written, %d to %d; digest of the last one: %s\n", p.Entries, p.First, p.Last, p.Digest)
		return err
	}
	return cmd
}
