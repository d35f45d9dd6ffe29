package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// validateListen wants a port at all, and the peers by name wherever others than this machine can call.
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

// validateTLS wants the files that the port needs, and no peer that could never show what is asked of it.
func (d *DICOM) validateTLS() error {
	t := &d.TLS
	switch {
	case (t.Certificate == "") != (t.Key == ""):
		return fmt.Errorf("dicom.tls: name both, certificate and key, or none")
	case t.Listen != "" && t.Certificate == "":
		return fmt.Errorf("dicom.tls.listen %s: name our certificate and its key under dicom.tls", t.Listen)
	case t.CRL != "" && t.CA == "":
		return fmt.Errorf("dicom.tls.crl: name the authorities that sign the lists under dicom.tls.ca")
	case t.Listen != "" && t.RequireClient && t.CA == "" && len(d.Peers) == 0:
		return fmt.Errorf("dicom.tls.ca: name the authorities that sign the certificates of peers, or set require_client_certificate: false")
	}
	for i, p := range d.Peers {
		key := fmt.Sprintf("dicom.peers[%d].certificates", i)
		if len(p.Certificates) > 0 && t.Listen == "" {
			return fmt.Errorf("%s: a certificate can be shown over TLS alone; set dicom.tls.listen", key)
		}
		if t.Listen == "" || t.CA != "" {
			continue
		}
		if t.RequireClient && len(p.Certificates) == 0 {
			return fmt.Errorf("%s: without dicom.tls.ca write the fingerprint of its certificate here, as sha256:...", key)
		}
		for _, c := range p.Certificates {
			if !strings.HasPrefix(c, "sha256:") {
				return fmt.Errorf("%s %q: a name counts only when an authority has signed it; name the authorities under dicom.tls.ca, or write sha256:... here", key, c)
			}
		}
	}
	return nil
}

func (p *Peer) validate(key string) error {
	if err := aeTitle(key+".ae_title", p.AETitle); err != nil {
		return err
	}
	if _, err := p.Prefixes(); err != nil {
		return fmt.Errorf("%s.addresses: %w", key, err)
	}
	switch {
	case p.Address != "" && !hostPort(p.Address):
		return fmt.Errorf("%s.address %q: write host:port, such as 10.1.2.3:104", key, p.Address)
	case p.Address == "" && (p.Find || p.TLS):
		return fmt.Errorf("%s: find and tls need the address where it listens", key)
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
func (p *Peer) Prefixes() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range p.Addresses {
		if prefix, err := netip.ParsePrefix(s); err == nil {
			out = append(out, prefix.Masked())
			continue
		}
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("%q: write an address or a range such as 10.1.2.0/24", s)
		}
		out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return out, nil
}
