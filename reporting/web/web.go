// Package web serves health and cases over HTTP.
//
//	/                     the dashboard (see pages.go)
//	/cases/{id}           the page of one case
//	/healthz              200 while the process works
//	/readyz               200 if it can receive and analyse, otherwise 503 with the reason in one line; then the alarms
//	/metrics              for Prometheus
//	/api/v1/node          what the node runs with, its alarms, destinations and peers, JSON
//	/api/v1/cases         the newest cases, JSON
//	/api/v1/cases/{id}    one case with its finding and deliveries, JSON
//	/api/v1/dead-letters  failed analyses and deliveries that were given up, JSON
//	/api/v1/counts        how many cases and deliveries there are, JSON
//	/api/v1/peers         the pauses of each sender and its quiet period, JSON
//	/api/v1/workers       workers of other machines that asked for jobs, JSON
//	/api/v1/turned-away   what peers proposed and was not accepted, JSON
//
// and accepts orders by POST, only from this machine if no token is set (see operate.go):
//
//	/api/v1/cases/{id}/retry, /api/v1/retry-failed, /api/v1/dead-letters/replay, /api/v1/dead-letters/discard,
//	/api/v1/backup (see backup.go)
//
// If a token is set, everything except the health checks requires it as bearer token; browsers can send it as a password to read
// the pages, and a reverse proxy can name the user (see access.go). If none is set, a request must be addressed to a name of this machine.
package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
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
	Counts() (state.Counts, error)
}

// Options configure the handler.
type Options struct {
	Cases    Cases
	Operator Operator // nil: no orders
	Token    string   // empty: not required
	// UserHeader is the header in which a reverse proxy at one of the addresses Proxies names the user; empty: none.
	UserHeader string
	Proxies    []netip.Prefix
	Ready      func() error // returns why the node cannot receive or analyse, nil if it can
	Metrics    http.Handler // nil: none

	Backup func(w io.Writer) error // writes a backup of the node; nil: none

	TurnedAway func() []TurnedAway // the newest first; nil: not known
	Node       func() Node         // nil: not known
	Peers      func() []Sender     // that sent studies, in the order of their titles; nil: not known
	Workers    func() []Worker     // by name; nil: none

	Denied func(address string, times int)   // called for each wrong token; may be nil
	Looked func(user, address, what string)  // called when someone sees a page or a case, at most hourly for the same; may be nil
	Gave   func(user, address, order string) // called when someone gave an order; may be nil

	WrongWait time.Duration // delay of the answer to the first wrong token of an address, then doubled up to 16 times this; 250 ms

	wrong *wrongTokens
	seen  *looks
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

// Sender is a sender and its quiet period, which follows the pauses between its objects.
type Sender struct {
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
	o.begin()
	mux := http.NewServeMux()
	o.health(mux)
	mux.Handle("GET /api/v1/cases", o.guard(o.list))
	mux.Handle("GET /api/v1/cases/{id}", o.guard(o.detail))
	mux.Handle("GET /api/v1/counts", o.guard(func(*http.Request) (any, error) { return o.Cases.Counts() }))
	mux.Handle("GET /api/v1/peers", o.guard(func(*http.Request) (any, error) { return o.Peers(), nil }))
	mux.Handle("GET /api/v1/workers", o.guard(func(*http.Request) (any, error) { return o.Workers(), nil }))
	mux.Handle("GET /api/v1/turned-away", o.guard(func(*http.Request) (any, error) { return o.TurnedAway(), nil }))
	o.pages(mux)
	if o.Backup != nil {
		mux.HandleFunc("POST /api/v1/backup", o.backup)
	}
	if o.Operator != nil {
		o.operate(mux)
	}
	return mux
}

// StandBy returns the handler of a node that has not opened its state: the dashboard, /readyz and /api/v1/node say what it needs,
// and /metrics has what can be measured. Everything else but /healthz answers 503 with the cause. Options.Cases is not used.
func StandBy(o Options) http.Handler {
	o.Cases, o.Operator = nil, nil
	o.begin()
	mux := http.NewServeMux()
	o.health(mux)
	o.pages(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		why := "not ready"
		if err := o.Ready(); err != nil { // nil: the state has just been opened
			why = err.Error()
		}
		http.Error(w, why, http.StatusServiceUnavailable)
	})
	return mux
}

// begin fills in what New and StandBy need.
func (o *Options) begin() {
	o.wrong, o.seen = &wrongTokens{of: map[string]attempts{}}, &looks{last: map[[3]string]time.Time{}}
	if o.WrongWait <= 0 {
		o.WrongWait = 250 * time.Millisecond
	}
	if o.Peers == nil {
		o.Peers = func() []Sender { return []Sender{} }
	}
	if o.Workers == nil {
		o.Workers = func() []Worker { return []Worker{} }
	}
	if o.TurnedAway == nil {
		o.TurnedAway = func() []TurnedAway { return []TurnedAway{} }
	}
}

// health adds how the node is; it also works before the state is open.
func (o Options) health(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", o.ready)
	if o.Metrics != nil {
		mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
			if o.authorized(w, r) && o.here(w, r) {
				o.Metrics.ServeHTTP(w, r)
			}
		})
	}
	if o.Node != nil {
		mux.Handle("GET /api/v1/node", o.guard(func(*http.Request) (any, error) { return o.Node(), nil }))
	}
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

func (o Options) list(r *http.Request) (any, error) {
	o.looked(r, "cases")
	return o.Cases.Cases(limitOf(r))
}

func (o Options) detail(r *http.Request) (any, error) {
	d, err := o.read(state.CaseID(r.PathValue("id")))
	if err == nil {
		o.looked(r, "case "+string(d.ID))
	}
	return d, err
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
