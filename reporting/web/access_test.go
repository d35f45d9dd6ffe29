package web

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func watched() (Options, *[]string) {
	var said []string
	return Options{
		Cases: kept{}, Operator: operator{}, Ready: func() error { return nil }, WrongWait: time.Millisecond,
		Node: func() Node {
			return Node{Version: "1.2", Configuration: "ichor.yaml", Destinations: []Destination{{Name: "pacs", Down: true, LastError: "refused", Pending: 42}},
				Alarms: []Alarm{{Name: "destination-down", Severity: Critical, Subject: "pacs", Text: "42 objects wait", Remedy: "make sure that it answers"}}}
		},
		Denied: func(address string, times int) { said = append(said, "denied "+address) },
		Looked: func(user, address, what string) { said = append(said, user+" looked at "+what) },
	}, &said
}

// TestAlarmsShown: an outage is at the top of the dashboard and in the answer of /readyz, with details only for those who may read.
func TestAlarmsShown(t *testing.T) {
	o, _ := watched()
	o.Token = "0123456789abcdef"
	h := New(o)
	bearer := func(path string) *http.Request {
		r := ask(path)
		r.Header.Set("Authorization", "Bearer "+o.Token)
		return r
	}
	code, first, _ := page(t, h, bearer("/"))
	alarm := strings.Index(first, "<strong>destination-down pacs</strong>: 42 objects wait")
	if code != 200 || alarm < 0 || alarm > strings.Index(first, "<h2>") || strings.Contains(first, "Nothing needs attention") || !strings.Contains(first, "down since") {
		t.Errorf("%d\n%s", code, first)
	}
	if code, text, _ := page(t, h, bearer("/readyz")); code != 200 || text != "ready\ncritical destination-down pacs: 42 objects wait; make sure that it answers\n" {
		t.Errorf("%d %q", code, text)
	}
	if code, text, _ := page(t, h, ask("/readyz")); code != 200 || text != "ready\ncritical destination-down\n" {
		t.Errorf("for everyone: %d %q", code, text)
	}
	o.Ready = func() error { return errors.New("disk: full") }
	if code, text, _ := page(t, New(o), ask("/readyz")); code != 503 || !strings.HasPrefix(text, "disk: full\n") {
		t.Errorf("not ready: %d %q", code, text)
	}
	if code, text, _ := page(t, h, bearer("/api/v1/node")); code != 200 || !strings.Contains(text, `"version":"1.2"`) {
		t.Errorf("%d %s", code, text)
	}
}

// TestStandBy: a node without its state shows its alarms, with details only for those who may read, and answers everything else
// with the cause.
func TestStandBy(t *testing.T) {
	o, _ := watched()
	o.Token, o.Ready = "0123456789abcdef", func() error { return errors.New("state.db: no space left") }
	h := StandBy(o)
	for _, c := range []struct {
		path, token string
		code        int
		says        string
	}{
		{"/healthz", "", 200, "ok"},
		{"/readyz", "", 503, "state.db: no space left\ncritical destination-down\n"},
		{"/readyz", o.Token, 503, "make sure that it answers"},
		{"/", "", 401, "password"},
		{"/", o.Token, 503, "cases are shown when it is"},
		{"/", o.Token, 503, "<strong>destination-down pacs</strong>: 42 objects wait"},
		{"/api/v1/node", "", 401, "token"},
		{"/api/v1/node", o.Token, 200, `"destination-down"`},
		{"/api/v1/cases", o.Token, 503, "state.db: no space left"},
		{"/cases/1", o.Token, 503, "state.db: no space left"},
		{"/metrics", o.Token, 503, "state.db: no space left"},
	} {
		r := ask(c.path)
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		if code, text, _ := page(t, h, r); code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("%s with token %q: %d, want %d and %q:\n%s", c.path, c.token, code, c.code, c.says, text)
		}
	}
}

// TestProxy: the header of a reverse proxy is believed from its address only, and lets nobody give orders.
func TestProxy(t *testing.T) {
	o, said := watched()
	o.UserHeader, o.Proxies = "X-Remote-User", []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}
	h := New(o)
	request := func(method, path, from, user string) *http.Request {
		r := ask(path)
		r.Method, r.RemoteAddr, r.Host = method, from+":9", "ichor.example.org"
		if user != "" {
			r.Header.Set("X-Remote-User", user)
		}
		r.Header.Set("Content-Type", "application/json")
		return r
	}
	for name, c := range map[string]struct {
		r    *http.Request
		want int
	}{
		"user":            {request("GET", "/", "10.0.0.1", "anna"), 200},
		"user, interface": {request("GET", "/api/v1/cases", "10.0.0.1", "anna"), 200},
		"user, order":     {request("POST", "/api/v1/retry-failed", "10.0.0.1", "anna"), 401},
		"nobody":          {request("GET", "/", "10.0.0.1", ""), 401},
		"from elsewhere":  {request("GET", "/", "10.0.0.2", "anna"), 401},
		"no token is set": {func() *http.Request { r := request("GET", "/", "10.0.0.2", ""); r.SetBasicAuth("x", ""); return r }(), 401},
	} {
		if code, _, _ := page(t, h, c.r); code != c.want {
			t.Errorf("%s: %d, want %d", name, code, c.want)
		}
	}
	if !slices.Contains(*said, "anna looked at dashboard") {
		t.Errorf("recorded: %q", *said)
	}
}

// TestWrongTokens: each wrong token is told, the answer is delayed longer each time, and a page that reloads itself is one look.
func TestWrongTokens(t *testing.T) {
	o, said := watched()
	o.Token, o.WrongWait = "0123456789abcdef", 5*time.Millisecond
	h := New(o)
	var took []time.Duration
	for range 4 {
		r := ask("/api/v1/cases")
		r.Header.Set("Authorization", "Bearer wrong")
		start := time.Now()
		if code, _, header := page(t, h, r); code != 401 || header.Get("Connection") != "close" {
			t.Errorf("%d %v", code, header)
		}
		took = append(took, time.Since(start))
	}
	if took[3] < 40*time.Millisecond || len(*said) != 4 || (*said)[0] != "denied 127.0.0.1" {
		t.Errorf("%v, %q", took, *said)
	}
	if code, _, _ := page(t, h, ask("/")); code != 401 || len(*said) != 4 {
		t.Errorf("a first visit without a token is no wrong token: %d, %q", code, *said)
	}
	for range 3 {
		r := ask("/")
		r.SetBasicAuth("anna", o.Token)
		page(t, h, r)
	}
	if len(*said) != 5 || (*said)[4] != "anna looked at dashboard" {
		t.Errorf("%q", *said)
	}
}
