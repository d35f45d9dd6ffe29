// Package web serves health and cases over HTTP.
//
//	/                     the dashboard, for people (see pages.go)
//	/cases/{id}           one case, for people
//	/healthz              200 while the process works
//	/readyz               200 when it can receive and analyse, 503 with one line saying why not
//	/metrics              for Prometheus
//	/api/v1/cases         the newest cases, JSON
//	/api/v1/cases/{id}    one case with its finding and deliveries, JSON
//	/api/v1/dead-letters  what was given up, JSON
//	/api/v1/turned-away   what peers proposed and was not accepted, JSON
//
// and takes orders by POST, from this machine where no token is set (see operate.go):
//
//	/api/v1/cases/{id}/retry, /api/v1/retry-failed, /api/v1/dead-letters/replay, /api/v1/dead-letters/discard
//
// Everything but health needs the bearer token where one is set; browsers may give it as a password to read the pages.
// Where none is set, a request must be for a name of this machine.
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

// Cases is what the pages are made of.
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
	Operator Operator     // nil: no orders are taken
	Token    string       // empty: none needed
	Ready    func() error // why the node cannot receive or analyse; nil when it can
	Metrics  http.Handler // nil: none

	TurnedAway func() []TurnedAway // the newest first; nil: not known
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

// Detail is one case with all that belongs to it.
type Detail struct {
	state.Case
	Deliveries []state.Delivery `json:"deliveries"`
	History    []state.Event    `json:"history"`
	Results    []state.Outcome  `json:"results"` // of its revisions, the last is the present one
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

// bears reports whether a request has the token, or none is needed.
func (o Options) bears(r *http.Request) bool {
	given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return o.Token == "" || same(given, o.Token)
}

// same compares in constant time.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// authorized asks for the token and answers where it is wrong.
func (o Options) authorized(w http.ResponseWriter, r *http.Request) bool {
	if o.bears(r) {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="ichor"`)
	http.Error(w, "a bearer token is needed: the value of http.token", http.StatusUnauthorized)
	return false
}

// here refuses a request by another name than one of this machine, where no token is set: a page elsewhere can give its own
// name the address of this machine, and would read what its visitor may read (DNS rebinding).
func (o Options) here(w http.ResponseWriter, r *http.Request) bool {
	if o.Token != "" || ofThisMachine(r.Host) {
		return true
	}
	http.Error(w, "only by the names localhost, 127.0.0.1 or [::1]; to be reached by another set http.token", http.StatusForbidden)
	return false
}

// guard serves what can be read to who is authorized.
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
			_ = json.NewEncoder(w).Encode(v) // the client went away
		}
	})
}

// maxCases bounds one listing.
const maxCases = 1000

// limitOf is how many cases are asked for.
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

// read is a case with all that belongs to it.
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
