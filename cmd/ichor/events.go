package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/reporting/events"
	"ichor/scp/spool"
)

func newEvents() *cobra.Command {
	var asJSON bool
	var kind, id, last string
	var limit int
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show the event log: what was received, analysed, delivered, refused and changed, and who looked",
		Long: "events reads the event log of a node, also beside one that is running. The log names patients and studies, so only root\n" +
			"and the service's group may read it.",
		Example: "  ichor events\n  ichor events --case 3f2a9c0d11e4b7a6\n  ichor events --kind refused --since 30d --json\n  ichor events verify",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	cmd.Flags().StringVar(&kind, "kind", "", "only entries of this `KIND`: "+kinds())
	cmd.Flags().StringVar(&id, "case", "", "only entries about the case with this `ID`")
	cmd.Flags().StringVar(&last, "since", "", "only entries of the last `TIME`, such as 30d or 24h")
	cmd.Flags().IntVar(&limit, "limit", 100, "the newest `N` entries; 0: all")
	s := withSettings(cmd, map[string]string{"state": "state"})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if kind != "" && !slices.Contains(events.Kinds(), events.Kind(kind)) {
			return usageError(fmt.Sprintf("--kind %q: there is no such kind; the kinds are %s", kind, kinds()))
		}
		since, err := timeOf(last)
		if err != nil {
			return err
		}
		c, err := s.load()
		if err != nil {
			return err
		}
		if limit < 0 {
			return usageError(fmt.Sprintf("--limit %d: write 0 or more", limit))
		}
		dir, err := eventLog(c)
		if err != nil {
			return err
		}
		var list []events.Event
		err = events.Read(dir, 0, func(e events.Event) error {
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
		if len(list) == 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "ichor: no entry of the event log %s matches\n", dir)
		}
		return printEvents(cmd.OutOrStdout(), list, asJSON)
	}
	cmd.AddCommand(newEventsVerify())
	return cmd
}

// kinds lists the kinds of entries.
func kinds() string {
	var names []string
	for _, k := range events.Kinds() {
		if strings.Contains(string(k), " ") {
			k = "'" + k + "'"
		}
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// timeOf reads the value of --since, which may be in days; empty is 0.
func timeOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		d = time.Duration(n * 24 * float64(time.Hour))
	}
	if err != nil || d <= 0 {
		return 0, usageError(fmt.Sprintf("--since %s: write a time with its unit, such as 30d or 24h", text))
	}
	return d, nil
}

// eventLog returns the folder of the event log. A log that is missing where a node has run is an error.
func eventLog(c config.Config) (dir string, err error) {
	dir = node.EventsDir(c)
	if _, err := os.Stat(c.State); errors.Is(err, fs.ErrNotExist) {
		return dir, fmt.Errorf("there is no state folder %s; name that of the node with --state", c.State)
	} else if err != nil {
		return dir, fmt.Errorf("state folder: %w; run as root or as a member of the service's group", err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(logs) > 0 {
		return dir, err
	}
	if _, err := os.Stat(filepath.Join(c.State, "state.db")); err == nil {
		return dir, fmt.Errorf("no event log in %s, though a node has run with the state folder %s: the log was removed, or events.dir names another folder", dir, c.State)
	}
	return dir, nil
}

// beforeLog is what was received before the first entry of the log, by a version of ichor that kept none.
type beforeLog struct {
	Objects int       `json:"objects"`
	Oldest  time.Time `json:"oldest,omitzero"`
}

// before finds the objects of the spool that are older than the log. A log whose beginning was pruned proves them by that entry.
func before(ctx context.Context, c config.Config, p events.Proof) (b beforeLog, err error) {
	dir := filepath.Join(c.State, "spool")
	if _, err := os.Stat(dir); p.First != 1 || errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	v, err := spool.OpenView(ctx, dir)
	if err != nil {
		return b, err
	}
	for _, uid := range v.Studies() {
		for _, o := range v.Study(uid) {
			if !o.Received.Before(p.Since.Add(-time.Minute)) {
				continue
			}
			if b.Objects++; b.Objects == 1 || o.Received.Before(b.Oldest) {
				b.Oldest = o.Received
			}
		}
	}
	return b, nil
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
			"same digest to its own log once a day: compare the two to find a log that was rewritten as a whole. A log that is missing\n" +
			"where a node has run, or that was begun anew in the place of an earlier one, is an error. Objects that were received before\n" +
			"the first entry, by a version of ichor that kept no event log, are counted and named.",
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
		dir, err := eventLog(c)
		if err != nil {
			return err
		}
		p, err := events.Verify(dir)
		if err != nil {
			return err
		}
		if p.Missing != "" {
			return fmt.Errorf("the log since %s is as it was written, but an earlier one (%s) is missing: it was removed, or the state was restored without it",
				p.Since.Local().Format(time.DateTime), p.Missing)
		}
		older, err := before(cmd.Context(), c, p)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), struct {
				events.Proof
				Before beforeLog `json:"before_log"`
			}{p, older})
		}
		if p.Entries == 0 {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "no entries: no node has run with the state folder %s\n", c.State)
			return err
		}
		if older.Objects > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "before the log: %d objects were received before its first entry, since %s; no entry proves what became of them then\n",
				older.Objects, older.Oldest.Local().Format(time.DateTime))
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d entries are as they were written, %d to %d, since %s; digest of the last one: %s\n", p.Entries, p.First, p.Last,
			p.Since.Local().Format(time.DateTime), p.Digest)
		return err
	}
	return cmd
}
