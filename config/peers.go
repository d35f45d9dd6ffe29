package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// validateListen requires at least one port, and a list of peers for a port that other machines can reach.
func (d *DICOM) validateListen() error {
	if d.Listen == "" && d.TLS.Listen == "" {
		return fmt.Errorf("dicom.listen and dicom.tls.listen are both empty: write host:port for one of them, such as 0.0.0.0:11112")
	}
	for _, l := range []struct{ key, address string }{{"dicom.listen", d.Listen}, {"dicom.tls.listen", d.TLS.Listen}} {
		switch {
		case l.address == "":
		case l.address != Systemd && !hostPort(l.address):
			return fmt.Errorf("%s %q: write host:port, such as 0.0.0.0:11112, or %s", l.key, l.address, Systemd)
		case len(d.Peers) == 0 && !Loopback(l.address):
			return fmt.Errorf("%s %s can be reached from other machines: list who may send under dicom.peers", l.key, l.address)
		}
	}
	return nil
}

// validateTLS requires the files that the port needs, and rejects peers that could never satisfy their own entry.
func (d *DICOM) validateTLS() error {
	t := &d.TLS
	switch {
	case (t.Certificate == "") != (t.Key == ""):
		return fmt.Errorf("dicom.tls: set both certificate and key, or neither")
	case t.Listen != "" && t.Certificate == "":
		return fmt.Errorf("dicom.tls.listen %s: set our certificate and its key in dicom.tls", t.Listen)
	case t.CRL != "" && t.CA == "":
		return fmt.Errorf("dicom.tls.crl: set dicom.tls.ca to the authorities that sign the revocation lists")
	case t.Listen != "" && t.RequireClient && t.CA == "" && len(d.Peers) == 0:
		return fmt.Errorf("dicom.tls.ca: set it to the authorities that sign the certificates of peers, or set require_client_certificate: false")
	}
	for i, p := range d.Peers {
		key := fmt.Sprintf("dicom.peers[%d].certificates", i)
		if len(p.Certificates) > 0 && t.Listen == "" {
			return fmt.Errorf("%s: certificates are only checked over TLS; set dicom.tls.listen", key)
		}
		if t.Listen == "" || t.CA != "" {
			continue
		}
		if t.RequireClient && len(p.Certificates) == 0 {
			return fmt.Errorf("%s: set dicom.tls.ca, or write the fingerprint of the certificate here as sha256:HEX", key)
		}
		for _, c := range p.Certificates {
			if !strings.HasPrefix(c, "sha256:") {
				return fmt.Errorf("%s %q: a name is only trusted if an authority has signed it; set dicom.tls.ca, or write the fingerprint here as sha256:HEX", key, c)
			}
		}
	}
	return nil
}

func (p *Peer) validate(key string) error {
	if err := aeTitle(key+".ae_title", p.AETitle); err != nil {
		return err
	}
	if p.AETitle == CanaryTitle {
		return fmt.Errorf("%s.ae_title %s: this title belongs to the self-test; use another one", key, p.AETitle)
	}
	if _, err := p.Prefixes(); err != nil {
		return fmt.Errorf("%s.addresses: %w", key, err)
	}
	switch {
	case p.Address != "" && !hostPort(p.Address):
		return fmt.Errorf("%s.address %q: write host:port, such as 10.1.2.3:104", key, p.Address)
	case p.Address == "" && (p.Find || p.TLS):
		return fmt.Errorf("%s: find and tls require address", key)
	}
	if p.Passcode != "" && p.Username == "" {
		return fmt.Errorf("%s.passcode: a passcode needs a username", key)
	}
	if p.MaxAssociations < 0 {
		return fmt.Errorf("%s.max_associations %d: must be at least 0", key, p.MaxAssociations)
	}
	return nil
}

// Prefixes parses the peer's address ranges; a single address is a range of one.
func (p *Peer) Prefixes() ([]netip.Prefix, error) { return prefixes(p.Addresses) }
