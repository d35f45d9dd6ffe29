package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"ichor/pipeline/state"
)

// Operator carries out orders of an operator. Its errors say what is wrong and what to do. state.ErrNotFound and
// state.ErrTransition give different HTTP statuses.
type Operator interface {
	Retry(ctx context.Context, id state.CaseID) error
	RetryFailed(ctx context.Context) (retried []state.CaseID, err error)
	DeadLetters(ctx context.Context) ([]DeadLetter, error)
	Replay(ctx context.Context, s Selection) (replayed int, err error)
	Discard(ctx context.Context, s Selection) (discarded int, err error)
	Canary(ctx context.Context) (Canary, error)
}

// DeadLetter is work that was given up: the analysis of a case, or the delivery of one object.
type DeadLetter struct {
	ID          string       `json:"id"`
	Kind        string       `json:"kind"` // analysis, delivery
	Case        state.CaseID `json:"case"`
	Object      string       `json:"object,omitempty"` // only for a delivery: SEG, SC, SR
	Destination string       `json:"destination,omitempty"`
	Tries       int          `json:"tries"`
	Reason      string       `json:"reason"`
	Remedy      string       `json:"remedy"`
	At          time.Time    `json:"at"`
	Group       string       `json:"group"` // the same for one destination and reason
}

// Selection selects dead letters: by ID or group, or all deliveries to a destination. If all are empty, it selects all deliveries.
type Selection struct {
	Groups      []string `json:"groups,omitempty"`
	IDs         []string `json:"ids,omitempty"`
	Destination string   `json:"destination,omitempty"`
}

// Done is the answer to an order.
type Done struct {
	Count  int            `json:"count"`
	Canary *Canary        `json:"canary,omitempty"`
	Cases  []state.CaseID `json:"cases,omitempty"`
}

// maxOrder bounds the body of a request.
const maxOrder = 1 << 20

// operate adds the handlers that change something.
func (o Options) operate(mux *http.ServeMux) {
	mux.Handle("GET /api/v1/dead-letters", o.guard(func(r *http.Request) (any, error) {
		list, err := o.Operator.DeadLetters(r.Context())
		if list == nil {
			list = []DeadLetter{}
		}
		return list, err
	}))
	mux.Handle("GET /api/v1/dead-letters/groups", o.guard(o.grouped))
	mux.Handle("POST /api/v1/cases/{id}/retry", o.order(func(r *http.Request, _ Selection) (Done, error) {
		id := state.CaseID(r.PathValue("id"))
		return Done{Count: 1, Cases: []state.CaseID{id}}, o.Operator.Retry(r.Context(), id)
	}))
	mux.Handle("POST /api/v1/retry-failed", o.order(func(r *http.Request, _ Selection) (Done, error) {
		ids, err := o.Operator.RetryFailed(r.Context())
		return Done{Count: len(ids), Cases: ids}, err
	}))
	mux.Handle("POST /api/v1/canary", o.order(func(r *http.Request, _ Selection) (Done, error) {
		c, err := o.Operator.Canary(r.Context())
		return Done{Count: 1, Canary: &c}, err
	}))
	mux.Handle("POST /api/v1/dead-letters/replay", o.order(func(r *http.Request, s Selection) (Done, error) {
		n, err := o.Operator.Replay(r.Context(), s)
		return Done{Count: n}, err
	}))
	mux.Handle("POST /api/v1/dead-letters/discard", o.order(func(r *http.Request, s Selection) (Done, error) {
		n, err := o.Operator.Discard(r.Context(), s)
		return Done{Count: n}, err
	}))
}

// mayOrder protects handlers that change something, and sends the error response. With a token, the request must have it. Without
// one, the request must come from this machine and not from a web page: a page in a browser here could send requests, but it cannot
// send JSON without a CORS preflight, and under DNS rebinding the Host header shows another name.
func (o Options) mayOrder(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case !o.authorized(w, r):
		return false
	case !o.secured() && !local(r):
		http.Error(w, "only the ichor commands on this machine may do this; set http.token to allow it from elsewhere", http.StatusForbidden)
		return false
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		http.Error(w, "send the order as JSON, with Content-Type: application/json", http.StatusUnsupportedMediaType)
		return false
	}
	return true
}

// order serves one order.
func (o Options) order(h func(*http.Request, Selection) (Done, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !o.mayOrder(w, r) {
			return
		}
		var s Selection
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
		d.DisallowUnknownFields()
		if err := d.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
			http.Error(w, "request: "+err.Error(), http.StatusBadRequest)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/canary") { // takes minutes on a slow machine
			c := http.NewResponseController(w)
			_ = errors.Join(c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{})) // fails only in tests without a connection
		}
		done, err := h(r, s)
		switch {
		case errors.Is(err, state.ErrNotFound):
			http.Error(w, err.Error(), http.StatusNotFound)
		case errors.Is(err, state.ErrTransition):
			http.Error(w, err.Error(), http.StatusConflict)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		default:
			if o.Gave != nil {
				address, _, _ := net.SplitHostPort(r.RemoteAddr)
				o.Gave(r.Header.Get("X-Ichor-User"), address, strings.TrimPrefix(r.URL.Path, "/api/v1/"))
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(done) // fails if the client has disconnected
		}
	})
}

// local reports whether a request comes from this machine, is addressed to a name of this machine, and is not from a page of
// another site.
func local(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); r.Header.Get("Origin") != "" || site != "" && site != "none" && site != "same-origin" {
		return false
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return false
	}
	return ofThisMachine(r.Host)
}

// ofThisMachine reports whether host, with or without a port, can only be this machine.
func ofThisMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	to, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && to.Unmap().IsLoopback()
}
