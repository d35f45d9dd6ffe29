package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

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
