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

// The pages are for people: what came, what was found or why nothing was, and what became of it. They change nothing, run
// no script and load nothing from elsewhere; all they show is escaped by html/template, since descriptions and the words
// of peers come from anywhere.

//go:embed pages.html style.css
var files embed.FS

// mostLetters bounds the list of what was given up.
const mostLetters = 50

// mostTurnedAway bounds the list of what was not accepted.
const mostTurnedAway = 20

// pages adds the dashboard.
func (o Options) pages(mux *http.ServeMux) {
	css, _ := files.ReadFile("style.css") // it is embedded
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
			_, _ = w.Write(b.Bytes()) // the client went away
		})
	}
	mux.Handle("GET /{$}", page("cases", o.overview))
	mux.Handle("GET /cases/{id}", page("case", o.one))
}

// admitted lets in who may read the pages. A browser asks its user for a password: it is the token, under any name. Only
// reading is allowed that way; orders take the bearer token alone, which no browser sends by itself.
func (o Options) admitted(w http.ResponseWriter, r *http.Request) bool {
	_, password, _ := r.BasicAuth()
	if o.bears(r) || same(password, o.Token) {
		return o.here(w, r)
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="ichor", charset="UTF-8"`)
	http.Error(w, "a password is needed: the value of http.token, under any user name", http.StatusUnauthorized)
	return false
}

// overview is the first page.
type overview struct {
	NotReady   string
	Disclaimer string
	Cases      []row
	More       bool // there are older cases
	Letters    []DeadLetter
	MoreDead   int
	TurnedAway []TurnedAway
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
	limit := limitOf(r)
	cases, err := o.Cases.Cases(limit + 1)
	if err != nil {
		return nil, err
	}
	v.More = len(cases) > limit
	for _, c := range cases[:min(limit, len(cases))] {
		v.Cases = append(v.Cases, row{c, c.Current(), said(c), kinds(c.Current(), true)})
	}
	v.TurnedAway = o.TurnedAway()
	v.TurnedAway = v.TurnedAway[:min(len(v.TurnedAway), mostTurnedAway)]
	if o.Operator != nil {
		if v.Letters, err = o.Operator.DeadLetters(r.Context()); err != nil {
			return nil, err
		}
		v.MoreDead = max(0, len(v.Letters)-mostLetters)
		v.Letters = v.Letters[:len(v.Letters)-v.MoreDead]
	}
	return v, nil
}

// said is one sentence on a case.
func said(c state.Case) string {
	f := c.Current()
	switch {
	case f == nil && c.Error == "" && c.Finding != nil:
		return "It has a former result."
	case f == nil:
		return c.Error
	case c.Error != "": // its result stands, though a newer revision could not be analysed
		return c.Error
	case f.Status == finding.Refused:
		return f.Reason
	case f.Volumes != nil && f.Volumes.Total == 0:
		return "No hemorrhage detected."
	}
	return ""
}

// kinds are the volumes of a finding, the total last; found leaves out those of zero.
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

// detail is the page of one case.
type detail struct {
	Detail
	Disclaimer string
	Said       string
	Code       string // of a refusal
	Former     bool   // the finding is that of a former revision
	Kinds      []kind
	Sentences  []string // the measures in words, as SC and SR say them
	Sent       []sent
}

// sent are the deliveries of one kind to one destination that are equally far: an overlay has dozens of objects.
type sent struct {
	state.Delivery // the one that changed last
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

// Spacing says how far the slices of a candidate lie apart.
func (d detail) Spacing(mm float64) string {
	if mm <= 0 {
		return ""
	}
	return fmt.Sprintf("%.2f mm", mm)
}
