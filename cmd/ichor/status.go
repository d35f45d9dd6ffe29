package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ichor/pipeline/state"
	"ichor/reporting/web"
	"ichor/scp/dimse"
)

func newStatus() *cobra.Command {
	var asJSON, peers, workers bool
	var limit int
	cmd := &cobra.Command{
		Use:     "status [CASE]",
		Short:   "Show the newest cases of the running node, or one of them, or its senders",
		Example: "  ichor status\n  ichor status 3f2a9c0d11e4b7a6 --json\n  ichor status --peers",
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&workers, "workers", false, "show the workers of other machines that ask for jobs")
	cmd.Flags().BoolVar(&peers, "peers", false, "show each sender with its pauses and its quiet period")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().IntVar(&limit, "limit", 20, "show at most `N` cases")
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		w := cmd.OutOrStdout()
		if limit < 1 {
			return usageError(fmt.Sprintf("--limit %d: write 1 or more", limit))
		}
		if (peers || workers) && len(args) == 1 || peers && workers {
			return usageError("--peers shows senders, --workers shows workers, CASE one case: give one of them")
		}
		n, err := running(s)
		if err != nil {
			return err
		}
		if peers {
			var list []web.Peer
			if err := n.get("peers", &list); err != nil {
				return err
			}
			if asJSON {
				return printJSON(w, list)
			}
			return printPeers(w, list)
		}
		if workers {
			var list []web.Worker
			if err := n.get("workers", &list); err != nil {
				return err
			}
			if asJSON {
				return printJSON(w, list)
			}
			return printWorkers(w, list)
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
		var cases []state.Case
		if err := n.get(fmt.Sprintf("cases?limit=%d", limit), &cases); err != nil {
			return err
		}
		if asJSON {
			return printJSON(w, cases)
		}
		if err := printCases(w, cases); err != nil {
			return err
		}
		var letters []web.DeadLetter
		var turned []web.TurnedAway
		if err := errors.Join(n.get("dead-letters", &letters), n.get("turned-away", &turned)); err != nil {
			return err
		}
		if len(letters) > 0 {
			fmt.Fprintf(w, "\n%d dead letters: 'ichor dead-letters' lists them\n", len(letters))
		}
		return printTurnedAway(w, turned)
	}
	return cmd
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

func printPeers(w io.Writer, list []web.Peer) error {
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

func printDetail(w io.Writer, d web.Detail) error {
	fmt.Fprintf(w, "case %s: %s, %d objects, revision %d\n\n", d.ID, d.Phase, d.Objects, d.Revision)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range d.History {
		fmt.Fprintf(t, "%s\t%s\t%s\n", e.At.Local().Format(time.DateTime), e.To, e.Why)
	}
	present := map[string]int{} // objects by destination that it had already
	for _, x := range d.Deliveries {
		if x.State != state.Pending && strings.Contains(x.LastError, dimse.DuplicateInstance.String()) {
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
	for _, name := range slices.Sorted(maps.Keys(present)) {
		fmt.Fprintf(w, "%s answered for %d objects that it has them already (0111H); make sure that they are there\n", name, present[name])
	}
	if d.Finding == nil {
		return nil
	}
	fmt.Fprintln(w)
	if d.Current() == nil {
		fmt.Fprintf(w, "%s. What follows is the result of an earlier revision.\n\n", cmp.Or(d.Error, "It is analysed again"))
	}
	return printFinding(w, *d.Finding, nil, "")
}
