// Package doctor examines a configuration and its surroundings, and says what to do about each fault.
//
//	doctor.go   the order of the checks, and their lines
//	host.go     the machine: state folder, disk, memory, clock
//	peers.go    destinations, peers and the audit repository
//	beside.go   what a running node says of itself
package doctor

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/reporting/web"
	"ichor/scp/dcm/codec"
)

// Grade is the result of one check.
type Grade string

const (
	OK      Grade = "ok"
	Warning Grade = "warning" // it works, and needs attention
	Failed  Grade = "failed"
)

// Line is one line of the report.
type Line struct {
	What   string `json:"what"`
	Grade  Grade  `json:"grade"`
	OK     bool   `json:"ok"` // not failed
	Detail string `json:"detail"`
}

// Options configure an examination.
type Options struct {
	Config  config.Config
	Offline bool                                    // do not connect to destinations
	Node    func(context.Context) (web.Node, error) // asks the running node; nil: there is none
}

// report collects lines.
type report struct{ lines []Line }

func (r *report) add(g Grade, what, detail string) {
	r.lines = append(r.lines, Line{what, g, g != Failed, oneLine(detail)})
}

// note adds ok with detail, or failed with err.
func (r *report) note(what, detail string, err error) {
	if err != nil {
		r.add(Failed, what, err.Error())
		return
	}
	r.add(OK, what, detail)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// Examine checks everything that the node needs. Beside a running node it asks that node instead of loading the networks again
// and trying its ports.
func Examine(ctx context.Context, o Options) []Line {
	r, c := &report{}, o.Config
	r.configuration(c)
	running, beside := r.node(ctx, o)
	r.who(c)
	r.state(c, !beside)
	detail, err := node.CheckMemory(os.DirFS("/"))
	r.note("memory", detail, err)
	r.clock()
	if !beside {
		r.ports(ctx, c)
	}
	credentials, err := node.OpenCredentials(c, slog.New(slog.DiscardHandler))
	if err != nil {
		r.add(Failed, "certificates", err.Error())
	} else if credentials != nil {
		for _, e := range credentials.Expiries() {
			r.certificate(e, time.Now())
		}
	}
	r.web(c)
	if beside && running.Bundle == "" {
		r.add(OK, "models", "not asked: the running node waits for its disk")
	} else if beside {
		r.add(OK, "models", fmt.Sprintf("the running node uses %s on %s", running.Bundle, running.Provider))
	} else {
		r.models(ctx, c)
	}
	r.codecs(ctx)
	r.destinations(ctx, o, credentials)
	r.callers(c, running, beside)
	r.audit(ctx, o, credentials)
	return r.lines
}

func (r *report) configuration(c config.Config) {
	detail := "read " + c.Source
	if c.Source == config.Defaults {
		detail = "no file was read: these are the defaults"
	}
	var set []string
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); config.IsSetting(name) {
			set = append(set, name)
		}
	}
	if len(set) > 0 {
		slices.Sort(set)
		detail += "; set in the environment: " + strings.Join(set, " ")
	}
	r.add(OK, "configuration", detail)
	who := fmt.Sprintf("user %d", os.Getuid())
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	if os.Getuid() == 0 {
		r.add(Warning, "user", "checked as root, who may read and write everything; the service runs as another user: add --user NAME")
		return
	}
	r.add(OK, "user", "checked with the rights of "+who)
}

// who says whether anybody can send and whether anything is delivered.
func (r *report) who(c config.Config) {
	switch {
	case len(c.DICOM.Peers) == 0:
		r.add(Warning, "senders", "only programs on this machine can send: dicom.listen is a loopback address; set it to 0.0.0.0:11112 and list who may send under dicom.peers")
	default:
		var names []string
		for _, p := range c.DICOM.Peers {
			names = append(names, p.AETitle)
		}
		r.add(OK, "senders", strings.Join(names, ", ")+" may send")
	}
	if len(c.Destinations) == 0 {
		r.add(Warning, "destinations", "none: nothing is delivered, results stay in the state folder; list the PACS under destinations")
	}
}

func (r *report) web(c config.Config) {
	if c.HTTP.Listen == "" {
		r.add(Warning, "http", "http.listen is empty: there is no dashboard, no metrics, and 'ichor status' cannot ask the node")
		return
	}
	if _, err := c.HTTP.ReadToken(); err != nil {
		r.add(Failed, "http", err.Error())
		return
	}
	if !config.Loopback(c.HTTP.Listen) && !c.HTTP.TLS {
		r.add(Warning, "http", c.HTTP.Listen+" is open to other machines without TLS: findings and token can be read on the network; set http.tls: true, or listen on 127.0.0.1 behind a reverse proxy")
	}
}

// codecs says which transfer syntaxes can be decoded. Without the JPEG 2000 program the node does not offer JPEG 2000, and senders
// convert.
func (r *report) codecs(ctx context.Context) {
	d, missing := codec.Detect(ctx)
	detail := fmt.Sprintf("%d are offered", len(d.TransferSyntaxes()))
	if missing != nil {
		r.add(Warning, "transfer syntaxes", detail+"; JPEG 2000 and HTJ2K are not: "+missing.Error())
		return
	}
	r.add(OK, "transfer syntaxes", detail)
}

// models loads library and bundle as the node does.
func (r *report) models(ctx context.Context, c config.Config) {
	c, err := node.WithChoice(c)
	if err != nil {
		r.add(Failed, "models", err.Error())
		return
	}
	if err := node.CheckLibrary(c.Analysis); err != nil {
		r.add(Failed, "library", err.Error())
		return
	}
	if c.Analysis.Provider != "cpu" {
		if missing, err := node.MissingLibraries(c.Analysis); err != nil {
			r.add(Failed, "GPU", err.Error())
		} else if len(missing) > 0 {
			r.add(Failed, "GPU", "these libraries of "+c.Analysis.Provider+" are not found: "+strings.Join(missing, " ")+"; install them, or set analysis.provider to cpu")
		}
	}
	e, err := node.OpenEngine(ctx, c.Analysis)
	if err != nil {
		r.add(Failed, "models", err.Error())
		return
	}
	r.note("models", fmt.Sprintf("%s %s reproduces its references on %s", e.Bundle.Name, e.Bundle.Version, c.Analysis.Provider), e.Close())
	if c.Analysis.Shadow == "" {
		return
	}
	c.Analysis.Bundle = c.Analysis.Shadow
	if e, err = node.OpenEngine(ctx, c.Analysis); err != nil {
		r.add(Warning, "shadow", err.Error()+"; live studies are not compared")
		return
	}
	r.note("shadow", fmt.Sprintf("%s %s analyses live studies too, and sends nothing", e.Bundle.Name, e.Bundle.Version), e.Close())
}
