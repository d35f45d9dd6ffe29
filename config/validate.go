package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Validate checks what the types cannot say. The error names the key and what to write instead.
func (c *Config) Validate() error {
	if err := aeTitle("dicom.ae_title", c.DICOM.AETitle); err != nil {
		return err
	}
	if !hostPort(c.DICOM.Listen) {
		return fmt.Errorf("dicom.listen %q: write host:port, such as 0.0.0.0:11112", c.DICOM.Listen)
	}
	if len(c.DICOM.Peers) == 0 && !Loopback(c.DICOM.Listen) {
		return fmt.Errorf("dicom.listen %s can be reached from other machines: list who may send under dicom.peers", c.DICOM.Listen)
	}
	for i, p := range c.DICOM.Peers {
		if err := aeTitle(fmt.Sprintf("dicom.peers[%d].ae_title", i), p.AETitle); err != nil {
			return err
		}
		if _, err := p.Prefixes(); err != nil {
			return fmt.Errorf("dicom.peers[%d].addresses: %w", i, err)
		}
	}
	names := map[string]bool{}
	for i, d := range c.Destinations {
		key := fmt.Sprintf("destinations[%d]", i)
		if d.Name == "" || names[d.Name] {
			return fmt.Errorf("%s.name %q: give each destination a name of its own", key, d.Name)
		}
		names[d.Name] = true
		if !hostPort(d.Address) {
			return fmt.Errorf("%s.address %q: write host:port, such as 10.1.2.3:104", key, d.Address)
		}
		if err := aeTitle(key+".ae_title", d.AETitle); err != nil {
			return err
		}
	}
	if c.HTTP.Listen != "" {
		if !hostPort(c.HTTP.Listen) {
			return fmt.Errorf("http.listen %q: write host:port, or leave it empty for none", c.HTTP.Listen)
		}
		if c.HTTP.Token == "" && !Loopback(c.HTTP.Listen) {
			return fmt.Errorf("http.listen %s can be reached from other machines: set http.token", c.HTTP.Listen)
		}
	}
	if !slices.Contains([]string{"cpu", "openvino", "cuda", "tensorrt"}, c.Analysis.Provider) {
		return fmt.Errorf("analysis.provider %q: write cpu, openvino, cuda or tensorrt", c.Analysis.Provider)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		return fmt.Errorf("log.level %q: write debug, info, warn or error", c.Log.Level)
	}
	if !slices.Contains([]string{"text", "json"}, c.Log.Format) {
		return fmt.Errorf("log.format %q: write text or json", c.Log.Format)
	}
	return c.validateNumbers()
}

func (c *Config) validateNumbers() error {
	for _, n := range []struct {
		key        string
		value, min int
	}{
		{"dicom.max_associations", c.DICOM.MaxAssociations, 1},
		{"dicom.max_object_mib", c.DICOM.MaxObjectMiB, 1},
		{"dicom.reserve_mib", c.DICOM.ReserveMiB, 0},
		{"analysis.workers", c.Analysis.Workers, 1},
		{"analysis.threads", c.Analysis.Threads, 0},
		{"analysis.min_slices", c.Analysis.MinSlices, 2},
		{"analysis.max_tries", c.Analysis.MaxTries, 1},
	} {
		if n.value < n.min {
			return fmt.Errorf("%s %d: must be at least %d", n.key, n.value, n.min)
		}
	}
	for _, d := range []struct {
		key string
		ok  bool
	}{
		{"dicom.request_timeout", c.DICOM.RequestTimeout > 0},
		{"dicom.idle_timeout", c.DICOM.IdleTimeout > 0},
		{"assembly.quiet_period", c.Assembly.QuietPeriod > 0},
		{"assembly.limit", c.Assembly.Limit >= c.Assembly.QuietPeriod},
		{"delivery.first_retry", c.Delivery.FirstRetry > 0},
		{"delivery.max_retry", c.Delivery.MaxRetry >= c.Delivery.FirstRetry},
		{"delivery.max_age", c.Delivery.MaxAge > 0},
		{"retention", c.Retention >= 0},
	} {
		if !d.ok {
			return fmt.Errorf("%s: must be a positive time such as 30s, and no limit below what it bounds", d.key)
		}
	}
	return nil
}

// hostPort reports whether s is a host, which may be empty, and a port by number.
func hostPort(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// aeTitle checks PS3.5 §6.2, AE: 1 to 16 printable characters, no backslash, not blank.
func aeTitle(key, s string) error {
	ok := len(s) >= 1 && len(s) <= 16 && strings.TrimSpace(s) != ""
	for _, r := range s {
		ok = ok && r >= 0x20 && r < 0x7F && r != '\\'
	}
	if !ok {
		return fmt.Errorf("%s %q: an AE title is 1 to 16 printable ASCII characters", key, s)
	}
	return nil
}

// Prefixes parses the peer's address ranges; a single address is a range of one.
func (p Peer) Prefixes() ([]netip.Prefix, error) {
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
