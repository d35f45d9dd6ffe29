package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/pipeline/state"
	"ichor/reporting/web"
	"ichor/scp/dimse"
)

// eventually waits until what is asked for is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for ctx := within(t); !so(); time.Sleep(10 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatalf("%v: %s", context.Cause(ctx), what)
		}
	}
}

// TestOperate does with the commands what an operator does after an archive was set up wrongly and an analysis failed.
func TestOperate(t *testing.T) {
	t.Parallel()
	pacs := startPACS(t)
	n := startNode(t, toPACS(t, pacs))
	ichor := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := command(t, append(args, "--http", n.HTTPAddr())...)
		if code != want {
			t.Fatalf("%q: exit code %d\n%s%s", args, code, out, errs)
		}
		return out + errs
	}
	if out := ichor(0, "dead-letters"); !strings.Contains(out, "no dead letters") {
		t.Error(out)
	}
	pacs.Fail(dimse.SOPClassNotSupported, 2)
	dir, _ := sampleStudy(t, "normal") // gives SC and SR
	files := send(t, n.Addr(), dir)
	id := state.IDOf(files[0].StudyInstanceUID)
	letters := func() (list []web.DeadLetter) {
		t.Helper()
		if err := json.Unmarshal([]byte(ichor(0, "dead-letters", "--json")), &list); err != nil {
			t.Fatal(err)
		}
		return list
	}
	eventually(t, "two dead letters", func() bool { l, err := n.State().DeadLetters(); return err == nil && len(l) == 2 })
	for _, l := range letters() {
		if l.Kind != "delivery" || l.Case != id || l.Destination != "pacs" || l.Tries != 1 || !strings.Contains(l.Reason, "0122H") ||
			!strings.Contains(l.Remedy, "SOP class") {
			t.Errorf("%+v", l)
		}
	}
	first := letters()[0].ID
	if out := ichor(0, "dead-letters", "--all"); !strings.Contains(out, first) || !strings.Contains(out, "ichor replay") {
		t.Error(out)
	}
	if out := ichor(1, "replay", "--destination", "nowhere"); !strings.Contains(out, "no destination") {
		t.Error(out)
	}
	if out := ichor(1, "replay", "d99999"); !strings.Contains(out, "ichor dead-letters") {
		t.Error(out)
	}
	group := letters()[0].Group
	if out := ichor(0, "dead-letters"); strings.Count(out, group) != 1 || !strings.Contains(out, "2 objects of 1 cases to pacs") {
		t.Errorf("not one group %s: %s", group, out)
	}
	if out := ichor(2, "dead-letters", "discard", first); !strings.Contains(out, "--yes") {
		t.Error(out)
	}
	if out := ichor(2, "replay", group); !strings.Contains(out, "Send 2 dead letters again: add --yes") {
		t.Error(out)
	}
	if out := ichor(1, "replay", "g0000000", "--yes"); !strings.Contains(out, "no such group") {
		t.Error(out)
	}
	if out := ichor(0, "status"); !strings.Contains(out, "dead-letters pacs: 2 objects given up (cases: 1)") {
		t.Error(out)
	}
	if out := ichor(0, "dead-letters", "discard", first, "--yes"); !strings.Contains(out, "1 dead letter discarded") {
		t.Error(out)
	}
	if out := ichor(0, "replay", "--destination", "pacs", "--yes"); !strings.Contains(out, "1 deliveries") {
		t.Error(out)
	}
	if err := pacs.Wait(within(t), 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "delivered", func() bool {
		d, err := n.State().Deliveries(id)
		settled := err == nil && len(d) == 2
		for _, x := range d {
			settled = settled && x.Settled()
		}
		return settled
	})

	// The same case again: the same objects, of which nothing is sent.
	if out := ichor(0, "retry", string(id)); !strings.Contains(out, string(id)) {
		t.Error(out)
	}
	eventually(t, "second revision", func() bool {
		c, err := n.State().Case(id)
		return err == nil && c.Revision == 2 && c.Phase == state.Analyzed
	})
	if got := pacs.Objects(); len(got) != 1 || got[0].Count != 1 {
		t.Errorf("%d objects, the first %d times", len(got), got[0].Count)
	}
	if out := ichor(1, "retry", "0123456789abcdef"); !strings.Contains(out, "no case") {
		t.Error(out)
	}
	ichor(2, "retry")
	ichor(2, "retry", string(id), "--failed")
	ichor(2, "dead-letters", "discard")
}

// TestRetryFailed retries an analysis that was given up.
func TestRetryFailed(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	n := startNode(t, c)
	dir, _ := sampleStudy(t, "normal")
	files := send(t, n.Addr(), dir)
	id := state.IDOf(files[0].StudyInstanceUID)
	phase := func(revision int, p state.Phase) func() bool {
		return func() bool { c, err := n.State().Case(id); return err == nil && c.Revision == revision && c.Phase == p }
	}
	eventually(t, "analysed", phase(1, state.Analyzed))
	// A bundle of another name makes every analysis of the next revision fail for good.
	good := n.Engine().Analyzer
	n.Engine().Analyzer = nil // panics, which the queue takes for a failure
	if err := n.Retry(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "given up", phase(2, state.Failed))
	n.Engine().Analyzer = good
	if l, err := n.DeadLetters(t.Context()); err != nil || len(l) != 1 || l[0].Kind != "analysis" || l[0].Tries != c.Analysis.MaxTries || !strings.Contains(l[0].Reason, "panic") {
		t.Errorf("%+v, %v", l, err)
	}
	code, out, errs := command(t, "dead-letters", "--http", n.HTTPAddr())
	if code != 0 || !strings.Contains(out, "ichor retry --failed") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if code, out, errs := command(t, "retry", "--failed", "--http", n.HTTPAddr()); code != 0 || !strings.Contains(out, string(id)) {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	eventually(t, "analysed again", phase(3, state.Analyzed))
	if left, err := n.DeadLetters(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("%d dead letters, error %v", len(left), err)
	}
	if _, err := n.Discard(t.Context(), web.Selection{IDs: []string{string(id) + ".2"}}); err == nil {
		t.Error("a letter that is gone was discarded")
	}
	code, _, errs = command(t, "replay", "--http", closedAddress(t))
	if code != 1 || !strings.Contains(errs, "no node answers") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

// closedAddress is where nobody listens.
func closedAddress(t *testing.T) string { return freeAddress(t) }

// TestOrdersFromPages holds that a page in a browser on this machine can give no order.
func TestOrdersFromPages(t *testing.T) {
	t.Parallel()
	n := startNode(t, testConfig(t))
	ask := func(change func(*http.Request)) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+n.HTTPAddr()+"/api/v1/dead-letters/replay", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		change(r)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode
	}
	for name, tt := range map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"command":           {func(*http.Request) {}, 200},
		"page":              {func(r *http.Request) { r.Header.Set("Origin", "https://evil.example.org") }, 403},
		"page by fetch":     {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"form":              {func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415},
		"name of our own":   {func(r *http.Request) { r.Host = "rebound.example.org" }, 403},
		"nothing said":      {func(r *http.Request) { r.Body = http.NoBody; r.ContentLength = 0 }, 200},
		"read, not ordered": {func(r *http.Request) { r.Method = http.MethodGet }, 405},
	} {
		if got := ask(tt.change); got != tt.want {
			t.Errorf("%s: HTTP %d, want %d", name, got, tt.want)
		}
	}
}

// TestDestinationRemoved: what waits for a destination that is taken out of the configuration is shown, and can be given
// up, or sent when the destination is back.
func TestDestinationRemoved(t *testing.T) {
	t.Parallel()
	pacs := startPACS(t)
	c := toPACS(t, pacs)
	c.Destinations = append(c.Destinations, config.Destination{Name: "old", Address: closedAddress(t), AETitle: "OLD"})
	dir, _ := sampleStudy(t, "normal") // gives SC and SR
	deliveries := func(n *node.Node, s state.DeliveryState) int {
		counts, err := n.State().Counts()
		if err != nil {
			t.Error(err)
		}
		return counts.Deliveries["old"][s]
	}
	t.Run("configured", func(t *testing.T) {
		n := startNode(t, c)
		send(t, n.Addr(), dir)
		eventually(t, "two deliveries wait", func() bool { return deliveries(n, state.Pending) == 2 })
	})
	both := c.Destinations
	c.Destinations = both[:1]
	t.Run("removed", func(t *testing.T) {
		n := startNode(t, c)
		letters, err := n.DeadLetters(t.Context())
		if err != nil || len(letters) != 2 || letters[0].Destination != "old" || !strings.Contains(letters[0].Remedy, "discard") {
			t.Fatalf("%+v, %v", letters, err)
		}
		if code, out, errs := command(t, "status", "--http", n.HTTPAddr()); code != 0 || !strings.Contains(out, "old: 2 objects given up (cases: 1)") {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
		if count, err := n.Replay(t.Context(), web.Selection{}); count != 0 || err != nil {
			t.Errorf("%d replayed to nobody, %v", count, err)
		}
		if count, err := n.Discard(t.Context(), web.Selection{IDs: []string{letters[0].ID}}); count != 1 || err != nil {
			t.Errorf("%d discarded, %v", count, err)
		}
	})
	c.Destinations = both
	n := startNode(t, c)
	if count, err := n.Replay(t.Context(), web.Selection{Destination: "old"}); count != 1 || err != nil {
		t.Errorf("%d replayed, %v", count, err)
	}
	if deliveries(n, state.Pending) != 1 || deliveries(n, state.Discarded) != 1 {
		t.Errorf("%d wait, %d discarded", deliveries(n, state.Pending), deliveries(n, state.Discarded))
	}
}
