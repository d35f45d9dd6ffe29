package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const reliabilityPage = "../../docs/reliability.md"

// TestReliability: docs/reliability.md is what the result files of the last runs say. -update writes it.
func TestReliability(t *testing.T) {
	files, err := filepath.Glob("../../docs/reliability/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no results of campaigns: %v", err)
	}
	var runs []campaign
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c campaign
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		runs = append(runs, c)
	}
	page := reliability(runs)
	if *update {
		if err := os.WriteFile(reliabilityPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(reliabilityPage)
	if err != nil || string(text) != page {
		t.Errorf("docs/reliability.md is not what the result files say: run go test ./cmd/ichor -run TestReliability -update, and read the difference; %v", err)
	}
}

// reliability renders the page.
func reliability(runs []campaign) string {
	var b strings.Builder
	b.WriteString(`# Reliability

What is claimed, and the runs that showed it. This page is written from the result files in docs/reliability by
` + "`go test ./cmd/ichor -run TestReliability -update`" + `; the test fails if they differ. The rows in bold count
faults.

- An object that was acknowledged (C-STORE, status 0000H) is never lost, whatever process is killed.
- A study has one set of results at the PACS. An object that was on its way when a process was killed may arrive twice, with the same
  UID; the PACS keeps one.
- Of two nodes of a [pair](cluster.md#two-nodes-for-one-sender) either one, or both, may be killed at any time, and their cables pulled.

In each run two nodes of a pair, two workers and three NATS servers ran on one machine, each a process in a network namespace of its
own. Processes were killed (SIGKILL) and started again after half a second, the PACS ended its associations and came back, and cables
were pulled for 2 to 12 seconds. A slow disk is one that wrote at most 10 times a second for 4 to 24 seconds. Of the three NATS
servers one at a time was harmed. Each study went to both nodes; its sender repeated what was not acknowledged. A stand-in is a
network that waits 15 ms a slice; everything else is what an installation runs.

`)
	b.WriteString("| | " + strings.Join(headings(runs), " | ") + " |\n|---|" + strings.Repeat("---|", len(runs)) + "\n")
	row := func(name string, value func(campaign) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, c := range runs {
			fmt.Fprintf(&b, " %s |", value(c))
		}
		b.WriteString("\n")
	}
	num := func(get func(campaign) int) func(campaign) string {
		return func(c campaign) string { return fmt.Sprint(get(c)) }
	}
	row("date, seed", func(c campaign) string { return fmt.Sprintf("%s, %d", c.Date, c.Seed) })
	row("length", func(c campaign) string { return fmt.Sprintf("%.0f min", float64(c.Seconds)/60) })
	row("studies", func(c campaign) string {
		if c.Rate == 0 {
			return fmt.Sprint(c.Studies)
		}
		return fmt.Sprintf("%d, %.0f an hour on average", c.Studies, c.Rate)
	})
	row("networks of the analysis", func(c campaign) string { return c.Networks })
	row("killed", func(c campaign) string { return counted(c.Kills) })
	row("cables pulled", func(c campaign) string { return counted(c.Partitions) })
	row("disks made slow", func(c campaign) string { return counted(c.SlowDisks) })
	row("objects received and acknowledged", num(func(c campaign) int { return c.Objects }))
	row("result objects at the PACS", num(func(c campaign) int { return c.Results }))
	row("**acknowledged objects lost**", num(func(c campaign) int { return c.Lost }))
	row("**studies with no set of results, or with more than one**", num(func(c campaign) int { return c.Wrong }))
	row("**studies that a node did not call stored at the end**", num(func(c campaign) int { return c.Unsettled }))
	row("result objects that arrived more than once", num(func(c campaign) int { return c.Twice }))
	row("last object to last result, median and longest", func(c campaign) string { return fmt.Sprintf("%.0f s, %.0f s", c.P50, c.Max) })
	b.WriteString(`
The longest times are those of studies whose nodes, workers or NATS servers were killed again and again. All processes shared one
core at low priority with other work (load 20), so these are no latencies of an installation. In the soak, studies came faster than
they were analysed; the last ones were analysed after the last kill, when the priority had been raised.

Repeat them, as root for the network namespaces:

` + "```" + `
make campaign KILLS=200 SEED=2    # so many nodes and workers are killed, and others; the next study comes when few wait
make soak MINUTES=60 SEED=2       # studies at ten times the peak of a trauma centre (104 an hour)
make siege                        # one node: random kills, and crowds of senders
` + "```" + `

Both print the seed and leave the result and the logs in ` + "`out`" + `.

Smaller runs are part of ` + "`make test`" + `:

- TestCampaign: the same with 5 kills. TestPairKilled: a node of a pair is killed at each phase of a study.
- TestKill: one node with the shipped networks is killed 20 times while studies arrive.
- TestClusterLosesAServer: the leader of three NATS servers is killed under load.
- TestPowerCuts (scp/spool): the power fails at any moment; what was not synced is lost, and what was acknowledged is there.
`)
	return b.String()
}

func headings(runs []campaign) (list []string) {
	for _, c := range runs {
		list = append(list, c.What)
	}
	return list
}

var memberKinds = map[string]string{"node": "nodes", "worker": "workers", "nats": "NATS servers", "pacs": "PACS"}

// counted lists counts by kind: nodes 12, workers 9.
func counted(n map[string]int) string {
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(n)) {
		list = append(list, fmt.Sprintf("%s %d", memberKinds[kind], n[kind]))
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
