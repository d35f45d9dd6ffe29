package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/reporting/words"
)

// The pages show people which studies arrived, what was found or why nothing was, and the state of deliveries. They change
// nothing, run no script and load nothing from other servers. html/template escapes everything, because descriptions and texts
// from peers are untrusted.

//go:embed pages.html style.css
var files embed.FS

// mostTurnedAway bounds the list of what was not accepted.
const mostTurnedAway = 20

// pages adds the dashboard.
func (o Options) pages(mux *http.ServeMux) {
	css, _ := files.ReadFile("style.css") // embedded, cannot fail
	sum := sha256.Sum256(css)
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
	t := template.Must(template.New("").Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(css) },
		"time":  func(t time.Time) string { return t.Local().Format(time.DateTime) },
		"ml":    words.Milliliters, "lesions": words.Lesioned,
	}).ParseFS(files, "pages.html"))
	page := func(name string, read func(*http.Request) (any, error)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !o.admitted(w, r) {
				return
			}
			v, err := read(r)
			var b bytes.Buffer
			if err == nil {
				err = t.ExecuteTemplate(&b, name, v)
			}
			switch {
			case errors.Is(err, state.ErrNotFound):
				http.Error(w, "no such case", http.StatusNotFound)
				return
			case err != nil:
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			h := w.Header()
			h.Set("Content-Type", "text/html; charset=utf-8")
			h.Set("Cache-Control", "no-store")
			h.Set("Content-Security-Policy", policy)
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Referrer-Policy", "no-referrer")
			if o.Cases == nil {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_, _ = w.Write(b.Bytes()) // the client went away
		})
	}
	mux.Handle("GET /{$}", page("cases", o.overview))
	if o.Cases != nil {
		mux.Handle("GET /cases/{id}", page("case", o.one))
	}
}

// overview is the data of the first page.
type overview struct {
	NotReady   string
	Alarms     []Alarm
	Node       *Node
	Disclaimer string
	StandBy    bool // the state is not open, so cases are not known
	Cases      []row
	More       bool // there are older cases
	Letters    []Letters
	TurnedAway []TurnedAway
	Present    map[string]int // by destination: objects that it said to have already
}

// row is one case in the list.
type row struct {
	state.Case
	Result *finding.Finding
	Said   string // what was found, or why nothing was
	Kinds  []kind
}

// kind is the volume of one subtype, or of the total.
type kind struct {
	Name, Words   string
	ML            float64
	Lesions       int
	Bounded       bool
	LowML, HighML float64
}

func (o Options) overview(r *http.Request) (any, error) {
	v := overview{Disclaimer: finding.Disclaimer}
	if err := o.Ready(); err != nil {
		v.NotReady = err.Error()
	}
	if o.Node != nil {
		n := o.Node()
		v.Alarms, v.Node = n.Alarms, &n
	}
	v.TurnedAway = o.TurnedAway()
	v.TurnedAway = v.TurnedAway[:min(len(v.TurnedAway), mostTurnedAway)]
	if v.StandBy = o.Cases == nil; v.StandBy {
		return v, nil
	}
	limit := limitOf(r)
	cases, err := o.Cases.Cases(limit + 1)
	if err != nil {
		return nil, err
	}
	v.More = len(cases) > limit
	for _, c := range cases[:min(limit, len(cases))] {
		v.Cases = append(v.Cases, row{c, c.Current(), said(c), kinds(c.Current(), true)})
	}
	counts, err := o.Cases.Counts()
	if err != nil {
		return nil, err
	}
	v.Present = counts.Present
	if o.Operator != nil {
		letters, err := o.Operator.DeadLetters(r.Context())
		if err != nil {
			return nil, err
		}
		v.Letters = Groups(letters)
	}
	o.looked(r, "dashboard")
	return v, nil
}

// said returns one sentence about a case.
func said(c state.Case) string {
	f := c.Current()
	switch {
	case f == nil && c.Error == "" && c.Finding != nil:
		return "It has an earlier result."
	case f == nil:
		return c.Error
	case c.Error != "": // its result remains valid, although a newer revision could not be analysed
		return c.Error
	case f.Status == finding.Refused:
		return f.Reason
	case f.Volumes != nil && f.Volumes.Total == 0:
		return "No hemorrhage detected."
	}
	return ""
}

// kinds returns the volumes of a finding, the total last. If found is set, it omits volumes of zero.
func kinds(f *finding.Finding, found bool) []kind {
	if f == nil || f.Volumes == nil {
		return nil
	}
	count := map[finding.Subtype]int{}
	for _, l := range f.Lesions {
		count[l.Subtype]++
	}
	var out []kind
	add := func(k kind, s finding.Subtype) {
		k.ML = f.Volumes.Of(s)
		if f.Range != nil {
			k.Bounded, k.LowML, k.HighML = f.Range.High.Of(s) >= words.MinBoundML, f.Range.Low.Of(s), f.Range.High.Of(s)
		}
		if k.ML > 0 || !found {
			out = append(out, k)
		}
	}
	for _, s := range f.Volumes.Shown() {
		add(kind{Name: s.String(), Words: s.Name(), Lesions: count[s]}, s)
	}
	add(kind{Name: "total", Words: "Total", Lesions: len(f.Lesions)}, finding.None)
	return out
}

// detail is the data of the page of one case.
type detail struct {
	Detail
	Disclaimer string
	Said       string
	Code       string // of a refused study
	Former     bool   // the finding is from an earlier revision
	Kinds      []kind
	Sentences  []string // the measures in words, as in SC and SR
	Sent       []sent
}

// sent groups the deliveries of one kind to one destination with the same state, because an overlay has dozens of objects.
type sent struct {
	state.Delivery // the last one that changed
	Count          int
}

func group(all []state.Delivery) []sent {
	var out []sent
	for _, d := range all {
		i := slices.IndexFunc(out, func(s sent) bool {
			return s.Kind == d.Kind && s.Destination == d.Destination && s.State == d.State && s.LastError == d.LastError
		})
		if i < 0 {
			out = append(out, sent{d, 1})
			continue
		}
		out[i].Count++
		if d.Updated.After(out[i].Updated) {
			out[i].Delivery = d
		}
	}
	return out
}

func (o Options) one(r *http.Request) (any, error) {
	d, err := o.read(state.CaseID(r.PathValue("id")))
	if err != nil {
		return nil, err
	}
	o.looked(r, "case "+string(d.ID))
	v := detail{Detail: d, Disclaimer: finding.Disclaimer, Said: said(d.Case), Kinds: kinds(d.Finding, false), Sent: group(d.Deliveries)}
	if f := d.Current(); f != nil {
		v.Code = f.Code
	}
	if f := d.Finding; f != nil {
		v.Former = d.Current() == nil
		series := 0
		if f.Series != nil {
			series = f.Series.Number
		}
		if v.Sentences = words.Lesions(f.Lesions, series, 20); f.Volumes != nil && f.Volumes.Total == 0 && f.Range != nil && words.Doubt(*f.Range) != "" {
			v.Sentences = append(v.Sentences, words.Doubt(*f.Range))
		}
		if f.Prior != nil {
			v.Sentences = append(v.Sentences, words.Change(*f.Prior))
		}
	}
	return v, nil
}

// Spacing formats the slice distance of a candidate.
func (d detail) Spacing(mm float64) string {
	if mm <= 0 {
		return ""
	}
	return fmt.Sprintf("%.2f mm", mm)
}
