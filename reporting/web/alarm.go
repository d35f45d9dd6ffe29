package web

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Severity says how soon an operator must act.
type Severity string

const (
	Critical Severity = "critical" // studies are not received, not analysed or not delivered
	Warning  Severity = "warning"  // it will become critical, or needs a decision
)

// Alarm is something that an operator must act on. Neither its name nor its subject depends on a peer or a patient.
type Alarm struct {
	Name     string    `json:"name"` // one of those in docs/operate.md
	Severity Severity  `json:"severity"`
	Subject  string    `json:"subject,omitempty"` // a destination or a file of the configuration
	Text     string    `json:"text"`              // what is wrong
	Foreign  bool      `json:"-"`                 // Text has words of a peer, which may name a patient: it is not logged
	Remedy   string    `json:"remedy"`
	Since    time.Time `json:"since,omitzero"`
}

// Title is the name with the subject.
func (a Alarm) Title() string { return strings.TrimSpace(a.Name + " " + a.Subject) }

// Node is how the node is: what it runs with, and what an operator must act on.
type Node struct {
	Version       string        `json:"version"`
	Configuration string        `json:"configuration"` // the file that was read
	Bundle        string        `json:"bundle"`
	Provider      string        `json:"provider"`
	PID           int           `json:"pid"`
	Started       time.Time     `json:"started"`
	DICOM         []string      `json:"dicom"` // listening addresses
	NotReady      string        `json:"not_ready,omitempty"`
	Alarms        []Alarm       `json:"alarms"`
	Destinations  []Destination `json:"destinations"`
	Peers         []Caller      `json:"peers"`    // the configured ones
	Rejected      []Caller      `json:"rejected"` // callers whose association was rejected since the start, the newest first
	Canary        *Canary       `json:"canary,omitempty"`
	Pair          *Pair         `json:"pair,omitempty"` // of which this node is part
}

// Pair is how two nodes that take over from each other are.
type Pair struct {
	Name   string    `json:"name"`
	Holds  bool      `json:"holds"`            // this node has the lease and sends results
	Holder string    `json:"holder,omitempty"` // host of the node with the lease; empty: none, or not known
	Since  time.Time `json:"since,omitzero"`   // when it got the lease, as far as this node has seen
	Alone  bool      `json:"alone,omitempty"`  // the NATS server is not reached; this node sends without a lease
	Others []string  `json:"others"`           // hosts of the other nodes that are alive
	Untold int       `json:"untold,omitempty"` // what the other node must still be told
	// Dropped counts what the other node is not told, because too much waited for a NATS server; 0 once all that waits is told.
	Dropped int `json:"dropped,omitempty"`
}

// Says describes the pair in one sentence.
func (p Pair) Says() string {
	other := "no other node is there"
	if len(p.Others) > 0 {
		other = strings.Join(p.Others, " and ") + " is ready to take over"
	}
	switch {
	case p.Alone:
		return "the lease cannot be read; this node sends its results without it"
	case p.Holds:
		return "this node has the lease and sends results; " + other
	case p.Holder != "":
		return p.Holder + " has the lease and sends results; this node is ready to take over"
	}
	return "no node is known to have the lease"
}

// Destination is how a destination is.
type Destination struct {
	Name      string        `json:"name"`
	Address   string        `json:"address"`
	Down      bool          `json:"down"`
	Since     time.Time     `json:"since,omitzero"` // when it went down
	LastError string        `json:"last_error,omitempty"`
	NextTry   time.Time     `json:"next_try,omitzero"`
	Pending   int           `json:"pending"`
	Oldest    time.Duration `json:"oldest"` // age of the oldest pending delivery, in nanoseconds
	Dead      int           `json:"dead"`
	Stored    time.Time     `json:"stored,omitzero"` // when it last stored an object
}

// Caller is a peer that called.
type Caller struct {
	AETitle string    `json:"ae_title"`
	Called  string    `json:"called,omitempty"` // why it was rejected, with the title that it called
	Address string    `json:"address,omitempty"`
	Times   int       `json:"times"`
	Last    time.Time `json:"last,omitzero"` // zero: not since the start
}

// Canary is the last self-test.
type Canary struct {
	At     time.Time     `json:"at"`
	OK     bool          `json:"ok"`
	Result string        `json:"result"` // volumes, or what went wrong
	Took   time.Duration `json:"took"`
}

// ready answers /readyz. Everyone learns whether the node is ready and the names of the alarms; details are for those who may
// read the pages.
func (o Options) ready(w http.ResponseWriter, r *http.Request) {
	said := "ready"
	err := o.Ready()
	if err != nil {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusServiceUnavailable)
		said = err.Error()
	}
	fmt.Fprintln(w, said)
	if o.Node == nil {
		return
	}
	_, known := o.reader(r)
	for _, a := range o.Node().Alarms {
		if known && (o.secured() || ofThisMachine(r.Host)) {
			fmt.Fprintf(w, "%s %s: %s; %s\n", a.Severity, a.Title(), a.Text, a.Remedy)
		} else {
			fmt.Fprintf(w, "%s %s\n", a.Severity, a.Name)
		}
	}
}

// Letters is a group of dead letters: those of one destination that were given up for the same reason.
type Letters struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind"` // analysis, delivery
	Destination string    `json:"destination,omitempty"`
	Reason      string    `json:"reason"`
	Remedy      string    `json:"remedy"`
	Objects     int       `json:"objects"`
	Cases       int       `json:"cases"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
}

// Groups puts dead letters into groups, in the order of their first letter.
func Groups(list []DeadLetter) []Letters {
	var out []Letters
	at := map[string]int{}
	cases := map[string]bool{}
	for _, l := range list {
		i, ok := at[l.Group]
		if !ok {
			i = len(out)
			at[l.Group] = i
			out = append(out, Letters{ID: l.Group, Kind: l.Kind, Destination: l.Destination, Reason: l.Reason, Remedy: l.Remedy, First: l.At, Last: l.At})
			if l.Kind == "analysis" {
				out[i].Remedy = "fix the problem given as the reason, then run 'ichor retry --failed'"
			}
		}
		g := &out[i]
		g.Objects++
		if key := l.Group + " " + string(l.Case); !cases[key] {
			cases[key] = true
			g.Cases++
		}
		if l.At.Before(g.First) {
			g.First = l.At
		}
		if l.At.After(g.Last) {
			g.Last = l.At
		}
	}
	return out
}

// grouped answers with the groups of dead letters.
func (o Options) grouped(r *http.Request) (any, error) {
	list, err := o.Operator.DeadLetters(r.Context())
	if err != nil {
		return nil, err
	}
	return append([]Letters{}, Groups(list)...), nil
}
