package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/reporting/web"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/secure"
	"ichor/scp/ul"
)

// answerTime bounds the check of one destination.
const answerTime = 10 * time.Second

// destinations asks each destination, all at the same time.
func (r *report) destinations(ctx context.Context, o Options, credentials *secure.Credentials) {
	r.files(o.Config.Destinations)
	if o.Offline {
		return
	}
	all := o.Config.Destinations
	lines := make([]Line, len(all))
	var wg sync.WaitGroup
	for i, d := range all {
		wg.Go(func() {
			one := &report{}
			one.destination(ctx, o.Config, d, credentials)
			lines[i] = one.lines[0]
		})
	}
	wg.Wait()
	r.lines = append(r.lines, lines...)
}

// files opens the files of credentials, which the service reads when it delivers.
func (r *report) files(all []config.Destination) {
	for _, d := range all {
		for key, path := range map[string]string{"token_file": d.TokenFile, "password_file": d.PasswordFile, "ca": d.CA} {
			if path == "" {
				continue
			}
			f, err := os.Open(path)
			if err != nil {
				r.add(Failed, "destination "+d.Name, fmt.Sprintf("%s: %v; make it readable for this user", key, err))
				continue
			}
			_ = f.Close() // was only opened
		}
	}
}

func (r *report) destination(ctx context.Context, c config.Config, d config.Destination, credentials *secure.Credentials) {
	what := "destination " + d.Name
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime)
	defer cancel()
	if d.URL != "" {
		if err := node.Probe(ctx, d); err != nil {
			r.add(Failed, what, fmt.Sprintf("%s: %v", d.URL, err))
			return
		}
		r.add(OK, what, d.URL+" accepts our credentials and offers STOW-RS")
		return
	}
	where := fmt.Sprintf("%s at %s", d.AETitle, d.Address)
	if d.TLS && credentials == nil {
		r.add(Failed, what, where+": not asked, the certificates cannot be read")
		return
	}
	refused, err := echo(ctx, c, d, credentials)
	switch {
	case err != nil:
		r.add(Failed, what, fmt.Sprintf("%s: %v", where, err))
	case len(refused) > 0:
		r.add(Warning, what, fmt.Sprintf("%s answers C-ECHO, but does not accept %s: these results will become dead letters; configure it to store them", where, strings.Join(refused, ", ")))
	default:
		r.add(OK, what, where+" answers C-ECHO and accepts the results")
	}
}

// results are the SOP classes that a destination must store.
var results = []string{dcm.SegmentationStorage, dcm.SecondaryCaptureImageStorage, dcm.Comprehensive3DSRStorage, dcm.KeyObjectSelectionDocumentStorage}

// echo sends a C-ECHO, and returns the names of the result classes that the destination does not accept.
func echo(ctx context.Context, c config.Config, d config.Destination, credentials *secure.Credentials) (refused []string, err error) {
	contexts := []ul.ProposedContext{{AbstractSyntax: dcm.VerificationSOPClass, TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian}}}
	wanted := results
	if d.Segmentation == config.LabelMap {
		wanted = append([]string{dcm.LabelMapSegmentationStorage}, results[1:]...)
	}
	for _, class := range wanted {
		contexts = append(contexts, ul.ProposedContext{AbstractSyntax: class, TransferSyntaxes: []string{dcm.ExplicitVRLittleEndian, dcm.ImplicitVRLittleEndian}})
	}
	o := dimse.ConnectOptions{
		Address: d.Address, CallingAE: c.DICOM.AETitle, CalledAE: d.AETitle, Contexts: contexts, Identity: node.Identity(d),
		ConnectTimeout: answerTime, ResponseTimeout: answerTime, WriteTimeout: answerTime,
	}
	if d.TLS {
		o.TLS = credentials.Client(d.ServerName)
	}
	scu, err := dimse.Connect(ctx, o)
	if _, unreachable := errors.AsType[*net.OpError](err); unreachable {
		return nil, fmt.Errorf("%w; check that it is running and that no firewall blocks the connection", err)
	}
	if err != nil {
		return nil, err
	}
	if err := scu.Echo(ctx); err != nil {
		scu.Abort()
		return nil, err
	}
	for _, class := range wanted {
		if len(scu.Accepted(class)) == 0 {
			refused = append(refused, dcm.UIDName(class))
		}
	}
	return refused, scu.Release(ctx)
}

// callers says when each configured peer last called: only the peer itself can show that it reaches us.
func (r *report) callers(c config.Config, running web.Node, beside bool) {
	if !beside {
		return
	}
	for _, p := range running.Peers {
		what := "peer " + p.AETitle
		if p.Last.IsZero() {
			r.add(Warning, what, fmt.Sprintf("has not called since the start at %s; send a C-ECHO from it to %s at %s", running.Started.Local().Format(time.DateTime),
				c.DICOM.AETitle, strings.Join(running.DICOM, " ")))
			continue
		}
		r.add(OK, what, fmt.Sprintf("last called at %s from %s", p.Last.Local().Format(time.DateTime), p.Address))
	}
}

// audit connects to the audit repository.
func (r *report) audit(ctx context.Context, o Options, credentials *secure.Credentials) {
	a := o.Config.Audit
	if a.Server == "" || o.Offline || credentials == nil {
		return
	}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: answerTime}, Config: credentials.Client(a.ServerName)}
	conn, err := dialer.DialContext(ctx, "tcp", a.Server)
	if err != nil {
		r.add(Warning, "audit repository", fmt.Sprintf("%s: %v; messages wait in the event log until it answers", a.Server, err))
		return
	}
	r.note("audit repository", a.Server+" answers", conn.Close())
}
