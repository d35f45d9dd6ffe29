package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/secure"
	"ichor/scp/ul"
)

// peerFlags describe a DICOM peer on the command line.
type peerFlags struct {
	called, calling string
	timeout         time.Duration

	tls        bool
	files      secure.Files
	serverName string
	security   *tls.Config // overrides the TLS fields above
	identity   *ul.UserIdentity
}

func (p *peerFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.called, "called", "ICHOR", "AE `TITLE` of the peer")
	cmd.Flags().StringVar(&p.calling, "calling", "ICHOR-SCU", "our own AE `TITLE`")
	cmd.Flags().DurationVar(&p.timeout, "timeout", 30*time.Second, "give up on a silent peer after this `TIME`")
	cmd.Flags().BoolVar(&p.tls, "tls", false, "speak TLS 1.2 or 1.3")
	cmd.Flags().StringVar(&p.files.CA, "tls-ca", "", "PEM `FILE` of the certificate authorities to trust (default: those of the system)")
	cmd.Flags().StringVar(&p.files.Certificate, "tls-certificate", "", "PEM `FILE` of our certificate")
	cmd.Flags().StringVar(&p.files.Key, "tls-key", "", "PEM `FILE` of its key")
	cmd.Flags().StringVar(&p.serverName, "tls-name", "", "host `NAME` expected in the peer's certificate (default: the host in the address)")
}

// secured returns the TLS configuration from the flags, nil for none.
func (p *peerFlags) secured() (*tls.Config, error) {
	switch {
	case p.security != nil:
		return p.security, nil
	case !p.tls && (p.files != secure.Files{} || p.serverName != ""):
		return nil, usageError("the --tls-... flags need --tls")
	case !p.tls:
		return nil, nil
	}
	c, err := secure.Open(p.files, nil)
	if err != nil {
		return nil, err
	}
	return c.Client(p.serverName), nil
}

func (p *peerFlags) connect(ctx context.Context, address string, contexts []ul.ProposedContext) (*dimse.SCU, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, usageError(fmt.Sprintf("peer %q: write host:port, such as 127.0.0.1:11112", address))
	}
	for _, title := range []string{p.called, p.calling} {
		if n := len(title); n < 1 || n > 16 { // PS3.5 §6.2, AE
			return nil, usageError(fmt.Sprintf("AE title %q: write 1 to 16 characters", title))
		}
	}
	if p.timeout <= 0 {
		return nil, usageError(fmt.Sprintf("--timeout %v: write a time such as 30s", p.timeout))
	}
	security, err := p.secured()
	if err != nil {
		return nil, err
	}
	scu, err := dimse.Connect(ctx, dimse.ConnectOptions{
		TLS: security, Identity: p.identity, Address: address, CallingAE: p.calling, CalledAE: p.called, Contexts: contexts,
		ConnectTimeout: p.timeout, ResponseTimeout: p.timeout, WriteTimeout: p.timeout,
	})
	if _, unreachable := errors.AsType[*net.OpError](err); unreachable {
		return nil, fmt.Errorf("%w; check that a node is running there and that no firewall blocks the connection", err)
	}
	return scu, err
}

// echo verifies that the peer answers.
func (p *peerFlags) echo(ctx context.Context, address string) error {
	scu, err := p.connect(ctx, address, []ul.ProposedContext{{
		AbstractSyntax:   dcm.VerificationSOPClass,
		TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian},
	}})
	if err != nil {
		return err
	}
	if err := scu.Echo(ctx); err != nil {
		scu.Abort()
		return fmt.Errorf("peer %s: %w", address, err)
	}
	return scu.Release(ctx)
}

// send stores all files over one association. It goes on after a file that the peer refuses, and
// reports how many were refused at the end.
func (p *peerFlags) send(ctx context.Context, address string, files []dicomFile) error {
	scu, err := p.connect(ctx, address, contextsFor(files))
	if err != nil {
		return err
	}
	bar := progress(len(files), "sending")
	defer bar.Finish()
	var failed []error
	for _, f := range files {
		if err := sendFile(ctx, scu, f); err != nil {
			if _, refused := errors.AsType[*dimse.StatusError](err); !refused {
				scu.Abort()
				return fmt.Errorf("%s: %w", f.path, err)
			}
			failed = append(failed, fmt.Errorf("%s: %w", f.path, err))
		}
		_ = bar.Add(1) // a bar that cannot be drawn stops nothing
	}
	if err := scu.Release(ctx); err != nil {
		return err
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d objects were not stored; the first: %w", len(failed), len(files), failed[0])
	}
	return nil
}

// contextsFor proposes one context for each SOP class and transfer syntax among the files.
func contextsFor(files []dicomFile) []ul.ProposedContext {
	var out []ul.ProposedContext
	seen := map[[2]string]bool{}
	for _, f := range files {
		key := [2]string{f.SOPClassUID, f.transferSyntax}
		if !seen[key] {
			seen[key] = true
			out = append(out, ul.ProposedContext{AbstractSyntax: f.SOPClassUID, TransferSyntaxes: []string{f.transferSyntax}})
		}
	}
	return out
}

func sendFile(ctx context.Context, scu *dimse.SCU, f dicomFile) error {
	r, err := openFile(f.path)
	if err != nil {
		return err
	}
	defer r.Close()
	object, err := dcm.Read(r, r.Size(), dcm.Limits{})
	if err != nil {
		return err
	}
	_, err = scu.Store(ctx, dimse.StoreRequest{
		SOPClassUID: f.SOPClassUID, SOPInstanceUID: f.SOPInstanceUID, TransferSyntaxUID: f.transferSyntax, Data: object.Encoded(),
	})
	return err
}
