package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ichor/pipeline/state"
	"ichor/reporting/web"
)

func newStatus() *cobra.Command {
	var asJSON, alarms, peers, workers bool
	var limit int
	cmd := &cobra.Command{
		Use:     "status [CASE]",
		Short:   "Show what needs attention and the newest cases of the running node, or one case",
		Example: "  ichor status\n  ichor status --alarms --json\n  ichor status --peers\n  ichor status 3f2a9c0d11e4b7a6 --json",
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().BoolVar(&alarms, "alarms", false, "only the node: what needs attention, destinations and peers")
	cmd.Flags().BoolVar(&peers, "peers", false, "show each sender with its pauses and its quiet period")
	cmd.Flags().BoolVar(&workers, "workers", false, "show the workers of other machines that ask for jobs")
	cmd.Flags().IntVar(&limit, "limit", 20, "show at most `N` cases")
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		w := cmd.OutOrStdout()
		if limit < 1 {
			return usageError(fmt.Sprintf("--limit %d: write 1 or more", limit))
		}
		if (peers || workers) && (len(args) == 1 || alarms) || peers && workers {
			return usageError("--peers shows senders, --workers shows workers, --alarms the node, CASE one case: give one of them")
		}
		n, err := running(s)
		switch {
		case err != nil:
			return err
		case peers:
			return show(w, n, "peers", asJSON, printPeers)
		case workers:
			return show(w, n, "workers", asJSON, printWorkers)
		}
		if len(args) == 1 {
			var d web.Detail
			if err := n.get("cases/"+url.PathEscape(args[0]), &d); err != nil {
				return err
			}
			if asJSON {
				return printJSON(w, d)
			}
			return printDetail(w, d)
		}
		var node web.Node
		if err := n.get("node", &node); err != nil {
			return err
		}
		switch {
		case alarms && asJSON:
			return printJSON(w, node)
		case !asJSON:
			printNode(w, node)
		}
		if alarms {
			return nil
		}
		var cases []state.Case
		if err := n.get(fmt.Sprintf("cases?limit=%d", limit), &cases); err != nil { // a node that waits for its disk has alarms, but no cases
			return err
		}
		if asJSON {
			return printJSON(w, cases)
		}
		if err := printCases(w, cases); err != nil {
			return err
		}
		var turned []web.TurnedAway
		var counts state.Counts
		if err := errors.Join(n.get("turned-away", &turned), n.get("counts", &counts)); err != nil {
			return err
		}
		if len(counts.Present) > 0 {
			fmt.Fprintln(w)
		}
		printPresent(w, counts.Present)
		return printTurnedAway(w, turned)
	}
	return cmd
}

// printNode prints what needs attention, then the destinations.
func printNode(w io.Writer, n web.Node) {
	switch {
	case n.NotReady != "":
		fmt.Fprintf(w, "NOT READY: %s\n", n.NotReady)
	case len(n.Alarms) == 0:
		fmt.Fprintln(w, "ready; nothing needs attention")
	default:
		fmt.Fprintln(w, "ready")
	}
	for _, a := range n.Alarms {
		fmt.Fprintf(w, "%-8s  %s: %s\n          %s\n", a.Severity, a.Title(), a.Text, a.Remedy)
	}
	if p := n.Pair; p != nil {
		fmt.Fprintf(w, "pair %s: %s\n", p.Name, p.Says())
	}
	if len(n.Destinations) > 0 {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "\ndestination\tstate\twaiting\toldest\tgiven up\tlast stored")
		for _, d := range n.Destinations {
			state, stored := "up", "never"
			if d.Down {
				state = "down since " + d.Since.Local().Format(time.DateTime)
			}
			if !d.Stored.IsZero() {
				stored = d.Stored.Local().Format(time.DateTime)
			}
			fmt.Fprintf(t, "%s\t%s\t%d\t%v\t%d\t%s\n", d.Name, state, d.Pending, d.Oldest.Round(time.Second), d.Dead, stored)
		}
		_ = t.Flush() // the caller's next line fails as well
	}
	fmt.Fprintln(w)
}

func printCases(w io.Writer, cases []state.Case) error {
	if len(cases) == 0 {
		_, err := fmt.Fprintln(w, "no cases yet")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "case\tupdated\tphase\tobjects\ttotal mL\tnote")
	for _, c := range cases {
		total, note := "", c.Error
		if f := c.Current(); f != nil && f.Volumes != nil {
			total = fmt.Sprintf("%.1f", f.Volumes.Total)
		} else if f != nil {
			note = f.Reason
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n", c.ID, c.Updated.Local().Format(time.DateTime), c.Phase, c.Objects, total, note)
	}
	return t.Flush()
}

// show prints a list of the node.
func show[T any](w io.Writer, n client, path string, asJSON bool, print func(io.Writer, []T) error) error {
	var list []T
	if err := n.get(path, &list); err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, list)
	}
	return print(w, list)
}

func printPeers(w io.Writer, list []web.Sender) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no sender has completed a study yet")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "peer\tlast study\tstudies\tlate\tlongest pause\tquiet period")
	for _, p := range list {
		quiet := fmt.Sprintf("%g s", p.QuietPeriodS)
		if !p.Learnt {
			quiet += " (as configured, too few studies yet)"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%.1f s\t%s\n", p.AETitle, p.Last.Local().Format(time.DateTime), p.Studies, p.Late, p.LongestPauseS, quiet)
	}
	return t.Flush()
}

func printWorkers(w io.Writer, list []web.Worker) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no worker of another machine has asked for jobs since the start")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "worker\taddress\tversion\tbusy\tlast seen\tnote")
	for _, x := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n", x.Name, x.Address, x.Version, x.Busy, x.Last.Local().Format(time.DateTime), x.Refused)
	}
	return t.Flush()
}

func printTurnedAway(w io.Writer, list []web.TurnedAway) error {
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nnot accepted from peers since the start:")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, x := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s not supported\t%d times\n", x.Last.Local().Format(time.DateTime), x.Peer, x.SOPClass, x.Reason, x.Contexts)
	}
	return t.Flush()
}

// printPresent prints for each destination how many objects it said to have already.
func printPresent(w io.Writer, present map[string]int) {
	for _, name := range slices.Sorted(maps.Keys(present)) {
		fmt.Fprintf(w, "%s answered for %d objects that it has them already (0111H); make sure that they are there\n", name, present[name])
	}
}

func printDetail(w io.Writer, d web.Detail) error {
	fmt.Fprintf(w, "case %s: %s, %d objects, revision %d\n\n", d.ID, d.Phase, d.Objects, d.Revision)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range d.History {
		fmt.Fprintf(t, "%s\t%s\t%s\n", e.At.Local().Format(time.DateTime), e.To, e.Why)
	}
	present := map[string]int{} // objects by destination that it had already
	for _, x := range d.Deliveries {
		if x.Cause == state.Present {
			present[x.Destination]++
		}
		fmt.Fprintf(t, "%s\t%s to %s: %s\t%s\n", x.Updated.Local().Format(time.DateTime), x.Kind, x.Destination, x.State, x.LastError)
	}
	for _, r := range d.Results {
		if r.ReplacedBy > 0 {
			fmt.Fprintf(t, "%s\tresult of revision %d replaced by %d\t%s\n", r.At.Local().Format(time.DateTime), r.Revision, r.ReplacedBy, r.Why)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	printPresent(w, present)
	if d.Finding == nil {
		return nil
	}
	fmt.Fprintln(w)
	if d.Current() == nil {
		fmt.Fprintf(w, "%s. What follows is the result of an earlier revision.\n\n", cmp.Or(d.Error, "It is analysed again"))
	}
	return printFinding(w, *d.Finding, nil, "")
}
