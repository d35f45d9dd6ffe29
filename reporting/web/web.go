// Package web serves health and cases over HTTP.
//
//	/                     the dashboard (see pages.go)
//	/cases/{id}           the page of one case
//	/healthz              200 while the process works
//	/readyz               200 if it can receive and analyse, otherwise 503 with the reason in one line
//	/metrics              for Prometheus
//	/api/v1/cases         the newest cases, JSON
//	/api/v1/cases/{id}    one case with its finding and deliveries, JSON
//	/api/v1/dead-letters  failed analyses and deliveries that were given up, JSON
//	/api/v1/turned-away   what peers proposed and was not accepted, JSON
//	/api/v1/workers       workers of other machines that asked for jobs, JSON
//	/api/v1/peers         the pauses of each sender and its quiet period, JSON
//
// and accepts orders by POST, only from this machine if no token is set (see operate.go):
//
//	/api/v1/cases/{id}/retry, /api/v1/retry-failed, /api/v1/dead-letters/replay, /api/v1/dead-letters/discard
//
// If a token is set, everything except the health checks requires it as bearer token; browsers can send it as a password to read
// the pages. If none is set, a request must be addressed to a name of this machine.
package web

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ichor/pipeline/state"
)

// Cases provides the data for the pages.
type Cases interface {
	Case(id state.CaseID) (state.Case, error)
	Cases(limit int) ([]state.Case, error)
	Deliveries(id state.CaseID) ([]state.Delivery, error)
	History(id state.CaseID) ([]state.Event, error)
	Outcomes(id state.CaseID) ([]state.Outcome, error)
}

// Options configure the handler.
type Options struct {
	Cases    Cases
	Operator Operator     // nil: no orders
	Token    string       // empty: not required
	Ready    func() error // returns why the node cannot receive or analyse, nil if it can
	Metrics  http.Handler // nil: none

	TurnedAway func() []TurnedAway // the newest first; nil: not known
	Peers      func() []Peer       // that sent studies, in the order of their titles; nil: not known
	Workers    func() []Worker     // by name; nil: none
}

// Worker is a worker of another machine that asked for jobs.
type Worker struct {
	Name    string    `json:"name"` // host/process
	Address string    `json:"address"`
	Version string    `json:"version"`           // of ichor
	Busy    int       `json:"busy"`              // studies it analysed when it last asked
	Refused string    `json:"refused,omitempty"` // why it gets no jobs of this node
	Last    time.Time `json:"last"`              // when it last asked
}

// Peer is a sender and its quiet period, which follows the pauses between its objects.
type Peer struct {
	AETitle       string    `json:"ae_title"`
	Studies       int       `json:"studies"`         // complete studies of more than one object
	Late          int       `json:"late"`            // of them, studies to which an object came soon after they were complete
	LongestPauseS float64   `json:"longest_pause_s"` // between two objects of one of the latest studies, seconds
	QuietPeriodS  float64   `json:"quiet_period_s"`  // seconds
	Learnt        bool      `json:"learnt"`          // false: the configured period applies, because too few studies came
	Last          time.Time `json:"last"`            // completion of the latest study
}

// TurnedAway is what a peer proposed and was not accepted since the node started: it cannot send such objects.
type TurnedAway struct {
	Peer        string    `json:"peer"` // calling AE title
	SOPClassUID string    `json:"sop_class_uid"`
	SOPClass    string    `json:"sop_class"` // its name, or the UID
	Reason      string    `json:"reason"`    // what is not supported: SOP class, transfer syntax
	Contexts    int       `json:"contexts"`  // presentation contexts
	Last        time.Time `json:"last"`
}

// Detail is one case with its history, deliveries and results.
type Detail struct {
	state.Case
	Deliveries []state.Delivery `json:"deliveries"`
	History    []state.Event    `json:"history"`
	Results    []state.Outcome  `json:"results"` // of its revisions, the current one last
}

// New returns the handler.
func New(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := o.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.Handle("GET /api/v1/cases", o.guard(o.list))
	mux.Handle("GET /api/v1/cases/{id}", o.guard(o.detail))
	if o.TurnedAway == nil {
		o.TurnedAway = func() []TurnedAway { return []TurnedAway{} }
	}
	mux.Handle("GET /api/v1/turned-away", o.guard(func(*http.Request) (any, error) { return o.TurnedAway(), nil }))
	if o.Peers == nil {
		o.Peers = func() []Peer { return []Peer{} }
	}
	if o.Workers == nil {
		o.Workers = func() []Worker { return []Worker{} }
	}
	mux.Handle("GET /api/v1/workers", o.guard(func(*http.Request) (any, error) { return o.Workers(), nil }))
	mux.Handle("GET /api/v1/peers", o.guard(func(*http.Request) (any, error) { return o.Peers(), nil }))
	o.pages(mux)
	if o.Metrics != nil {
		mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
			if o.authorized(w, r) && o.here(w, r) {
				o.Metrics.ServeHTTP(w, r)
			}
		})
	}
	if o.Operator != nil {
		o.operate(mux)
	}
	return mux
}

// hasToken reports whether a request has the token, or none is required.
func (o Options) hasToken(r *http.Request) bool {
	given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return o.Token == "" || same(given, o.Token)
}

// same compares two strings in constant time.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// authorized checks the token and sends the error response if it is wrong.
func (o Options) authorized(w http.ResponseWriter, r *http.Request) bool {
	if o.hasToken(r) {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="ichor"`)
	http.Error(w, "a bearer token is required: the value of http.token", http.StatusUnauthorized)
	return false
}

// here rejects a request to a name other than those of this machine, if no token is set. Otherwise a foreign site could point its
// own name to the address of this machine and read what its visitor may read (DNS rebinding).
func (o Options) here(w http.ResponseWriter, r *http.Request) bool {
	if o.Token != "" || ofThisMachine(r.Host) {
		return true
	}
	http.Error(w, "use localhost, 127.0.0.1 or [::1]; to use another name, set http.token", http.StatusForbidden)
	return false
}

// guard serves JSON to authorized requests.
func (o Options) guard(h func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !o.authorized(w, r) || !o.here(w, r) {
			return
		}
		v, err := h(r)
		switch {
		case errors.Is(err, state.ErrNotFound):
			http.Error(w, "no such case", http.StatusNotFound)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			_ = json.NewEncoder(w).Encode(v) // fails if the client has disconnected
		}
	})
}

// maxCases bounds one listing.
const maxCases = 1000

// limitOf returns the requested number of cases.
func limitOf(r *http.Request) int {
	if n, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil && n > 0 {
		return min(n, maxCases)
	}
	return 100
}

func (o Options) list(r *http.Request) (any, error) { return o.Cases.Cases(limitOf(r)) }

func (o Options) detail(r *http.Request) (any, error) {
	return o.read(state.CaseID(r.PathValue("id")))
}

// read returns a case with everything that belongs to it.
func (o Options) read(id state.CaseID) (d Detail, err error) {
	if d.Case, err = o.Cases.Case(id); err != nil {
		return d, err
	}
	if d.Deliveries, err = o.Cases.Deliveries(id); err != nil {
		return d, err
	}
	if d.History, err = o.Cases.History(id); err != nil {
		return d, err
	}
	if d.Results, err = o.Cases.Outcomes(id); err != nil {
		return d, err
	}
	return d, nil
}
