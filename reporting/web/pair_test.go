package web

import (
	"strings"
	"testing"
	"time"
)

// TestPair: the dashboard says in one sentence who has the lease.
func TestPair(t *testing.T) {
	since := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for want, p := range map[string]Pair{
		"Pair ct: this node has the lease and sends results; n2 is ready to take over (since ": {Name: "ct", Holds: true, Holder: "n1", Since: since, Others: []string{"n2"}},
		"Pair ct: this node has the lease and sends results; no other node is there.":          {Name: "ct", Holds: true, Holder: "n1"},
		"Pair ct: n2 has the lease and sends results; this node is ready to take over.":        {Name: "ct", Holder: "n2", Others: []string{"n2"}},
		"Pair ct: the lease cannot be read; this node sends its results without it.":           {Name: "ct", Alone: true, Holds: true},
		"Pair ct: no node is known to have the lease.":                                         {Name: "ct"},
	} {
		h := New(Options{Cases: kept{}, Operator: operator{}, Ready: func() error { return nil }, Node: func() Node { return Node{Pair: &p} }})
		if _, text, _ := page(t, h, ask("/")); !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
