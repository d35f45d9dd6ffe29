package web

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/state"
)

// kept are cases of every end, with what comes from outside in them.
type kept struct{}

const hostile = `<script>alert(1)</script>`

func (kept) all() []state.Case {
	bled := &finding.Finding{Status: finding.Analyzed, Volumes: &finding.Volumes{Total: 25.4, IPH: 24.9, SAH: 0.5},
		Range:    &finding.Range{Low: finding.Volumes{Total: 20.1, IPH: 19}, High: finding.Volumes{Total: 31.7, IPH: 30}},
		Warnings: []string{"A slice seems to be missing."}, CavityML: 1500,
		Lesions:    []finding.Lesion{{Subtype: finding.IPH, VolumeML: 24.9, Slices: [2]int{11, 16}, Position: "left frontal"}},
		Candidates: []finding.Candidate{{Modality: "CT", Description: hostile, Instances: 32, Score: 71, Chosen: true, Reasons: []string{"soft-tissue kernel"}}}}
	refused := &finding.Finding{Status: finding.Refused, Code: finding.Child, Reason: "The patient is younger than 18 years."}
	return []state.Case{
		{ID: "a1", Phase: state.Analyzed, Finding: bled, Objects: 32},
		{ID: "b2", Phase: state.Refused, Finding: refused},
		{ID: "c3", Phase: state.Failed, Error: "no memory left " + hostile, Finding: refused}, // of its former revision
		{ID: "d4", Phase: state.Analyzed, Finding: &finding.Finding{Status: finding.Analyzed, Volumes: &finding.Volumes{}}},
		{ID: "e5", Phase: state.Receiving},
		{ID: "f6", Phase: state.Queued, Finding: bled},
	}
}

func (k kept) Cases(limit int) ([]state.Case, error) { return k.all()[:min(limit, 6)], nil }
func (k kept) Case(id state.CaseID) (state.Case, error) {
	for _, c := range k.all() {
		if c.ID == id {
			return c, nil
		}
	}
	return state.Case{}, state.ErrNotFound
}
func (kept) Deliveries(state.CaseID) ([]state.Delivery, error) {
	pacs := state.DeliveryKey{Destination: "pacs"}
	out := []state.Delivery{{Kind: "SEG", DeliveryKey: pacs, State: state.Dead, LastError: hostile}}
	for range 37 {
		out = append(out, state.Delivery{Kind: "SC", DeliveryKey: pacs, State: state.Stored})
	}
	return append(out, state.Delivery{Kind: "SC", DeliveryKey: pacs, State: state.Pending}), nil
}
func (kept) History(state.CaseID) ([]state.Event, error) {
	return []state.Event{{To: state.Queued, Why: "complete by quiet period"}}, nil
}
func (kept) Outcomes(state.CaseID) ([]state.Outcome, error) {
	return []state.Outcome{{Revision: 1, ReplacedBy: 2, Why: "further objects"}}, nil
}

func (kept) Counts() (state.Counts, error) {
	return state.Counts{Present: map[string]int{"pacs": 3}}, nil
}

type operator struct{ Operator }

func (operator) DeadLetters(context.Context) ([]DeadLetter, error) {
	return []DeadLetter{{Kind: "delivery", Case: "a1", Object: "SEG", Destination: "pacs", Reason: hostile, Remedy: "restart it", At: time.Now()}}, nil
}
func (operator) RetryFailed(context.Context) ([]state.CaseID, error) { return nil, nil }

func page(t *testing.T, h http.Handler, r *http.Request) (int, string, http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body), w.Result().Header
}

func ask(path string) *http.Request {
	r := httptest.NewRequest("GET", path, nil)
	r.Host, r.RemoteAddr = "127.0.0.1:8080", "127.0.0.1:9"
	return r
}

// Each case says how it ended: volumes, the code and the sentence of a refusal, the error of a failure.
func TestPages(t *testing.T) {
	h := New(Options{Cases: kept{}, Operator: operator{}, Ready: func() error { return errors.New("disk: full") }, TurnedAway: func() []TurnedAway {
		return []TurnedAway{{Peer: "CT2" + hostile, SOPClass: "Hanging Protocol", Reason: "SOP class", Contexts: 17}}
	}})
	if _, list, _ := page(t, h, ask("/api/v1/turned-away")); !strings.Contains(list, `"contexts":17`) || !strings.Contains(list, "Hanging Protocol") {
		t.Errorf("what was not accepted: %s", list)
	}
	if _, counts, _ := page(t, h, ask("/api/v1/counts")); !strings.Contains(counts, `"present":{"pacs":3}`) {
		t.Errorf("counts: %s", counts)
	}
	code, first, header := page(t, h, ask("/"))
	rows := strings.Split(first, "<tr>")
	row := func(id string) string {
		for _, r := range rows {
			if strings.Contains(r, `href="/cases/`+id+`"`) && !strings.Contains(r, "restart it") {
				return r
			}
		}
		return ""
	}
	for id, want := range map[string][]string{
		"a1": {"analyzed", ">25<", "IPH 25", "SAH 0.5", "Warning: A slice seems to be missing."},
		"b2": {"refused", "child", "The patient is younger than 18 years."},
		"c3": {"failed", "no memory left"},
		"d4": {"analyzed", "0.0", "No hemorrhage detected."},
		"e5": {"receiving"},
	} {
		for _, w := range want {
			if !strings.Contains(row(id), w) {
				t.Errorf("case %s does not say %q: %s", id, w, row(id))
			}
		}
	}
	if code != 200 || !strings.Contains(first, "Not ready: disk: full") || !strings.Contains(first, "1 objects to pacs") || !strings.Contains(first, "restart it") {
		t.Errorf("%d, the page lacks what stands still:\n%s", code, first)
	}
	if !strings.Contains(first, `Hanging Protocol<td>SOP class<td class="n">17`) {
		t.Errorf("the page lacks what was not accepted:\n%s", first)
	}
	if !strings.Contains(first, "pacs answered for 3 objects that it has them already (0111H).") {
		t.Errorf("the page lacks what was there already:\n%s", first)
	}
	if r := row("c3"); strings.Contains(r, "child") {
		t.Errorf("a failure is told with the code of the former result: %s", r)
	}
	if r := row("f6"); !strings.Contains(r, "It has an earlier result.") || strings.Contains(r, ">25<") || strings.Contains(r, "A slice") {
		t.Errorf("a former result is told as if it stood: %s", r)
	}
	if _, again, _ := page(t, h, ask("/cases/f6")); !strings.Contains(again, "The result below is from an earlier revision.") {
		t.Errorf("the page of a case that is analysed again does not say what its volumes are:\n%s", again)
	}
	code, one, _ := page(t, h, ask("/cases/a1"))
	for _, want := range []string{"20 to 32", "IPH 25 mL, left frontal (approximate), slices 12 to 17 counted from the feet.", "soft-tissue kernel", "pacs", "dead",
		`SC<td class="n">37`, `SC<td class="n">1`, "complete by quiet period", "result of revision 1 by revision 2"} {
		if code != 200 || !strings.Contains(one, want) {
			t.Errorf("%d, the page of a case does not say %q", code, want)
		}
	}
	for _, p := range []string{first, one} {
		if strings.Contains(p, hostile) || !strings.Contains(p, "&lt;script&gt;") || !strings.Contains(p, finding.Disclaimer) {
			t.Errorf("text from outside is not escaped, or the disclaimer is missing:\n%s", p)
		}
	}
	_, style, _ := strings.Cut(first, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	if policy := header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, base64.StdEncoding.EncodeToString(sum[:])) {
		t.Errorf("the policy %q does not let the style of the page through, or too much", policy)
	}
	for path, want := range map[string]int{"/cases/none": 404, "/nothing": 404} {
		if code, _, _ := page(t, h, ask(path)); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}

// Who has the token reads; a browser gives it as a password, with which nothing can be ordered. Without a token only names
// of this machine are served.
func TestPagesAccess(t *testing.T) {
	ready := func() error { return nil }
	open, closed := New(Options{Cases: kept{}, Operator: operator{}, Ready: ready}), New(Options{Cases: kept{}, Operator: operator{}, Token: "secret", Ready: ready, WrongWait: time.Millisecond})
	basic := func(password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth("anyone", password) }
	}
	bearer := func(r *http.Request) { r.Header.Set("Authorization", "Bearer secret") }
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	order := func(more func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			r.Method = "POST"
			r.Header.Set("Content-Type", "application/json")
			more(r)
		}
	}
	for name, c := range map[string]struct {
		h    http.Handler
		path string
		with func(*http.Request)
		want int
	}{
		"nothing":             {closed, "/", func(*http.Request) {}, 401},
		"wrong password":      {closed, "/", basic("Secret"), 401},
		"empty password":      {closed, "/", basic(""), 401},
		"password":            {closed, "/", basic("secret"), 200},
		"token":               {closed, "/cases/a1", bearer, 200},
		"password, interface": {closed, "/api/v1/cases", basic("secret"), 401},
		"password, order":     {closed, "/api/v1/retry-failed", order(basic("secret")), 401},
		"token, order":        {closed, "/api/v1/retry-failed", order(bearer), 200},
		"another name":        {open, "/", host("evil.example:8080"), 403},
		"another, interface":  {open, "/api/v1/cases", host("evil.example"), 403},
		"another, with token": {closed, "/", func(r *http.Request) { bearer(r); r.Host = "ichor.example" }, 200},
		"localhost":           {open, "/", host("localhost:8080"), 200},
		"IPv6":                {open, "/", host("[::1]:8080"), 200},
	} {
		r := ask(c.path)
		c.with(r)
		code, body, header := page(t, c.h, r)
		if code != c.want {
			t.Errorf("%s: %d, want %d", name, code, c.want)
		}
		if code == 401 && (strings.Contains(body, "25.4") || c.path == "/" && !strings.HasPrefix(header.Get("WWW-Authenticate"), "Basic ")) {
			t.Errorf("%s: the browser is not asked: %q", name, header.Get("WWW-Authenticate"))
		}
	}
}
