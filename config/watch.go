package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

// CanaryTitle is the AE title and the destination of the self-test; no peer and no destination may have it.
const CanaryTitle = "ICHOR-CANARY"

// Canary is the self-test.
type Canary struct {
	Start     bool     `mapstructure:"start" default:"true" doc:"Run it at the start of the node."`
	At        string   `mapstructure:"at" default:"04:30" doc:"Run it once a day at this time, HH:MM. Empty: not daily."`
	Tolerance int      `mapstructure:"tolerance" default:"25" doc:"By how many percent the total volume may differ from the truth. The head is synthetic: networks of your own may need more. 0: volumes are not compared."`
	Deliver   []string `mapstructure:"deliver" default:"[]" doc:"Names of destinations that also get the results of the self-test. They are not distinguishable from those of a patient except by name and ID (ICHOR-CANARY), so leave this empty unless the destination is a test system."`
}

// Events is the event log.
type Events struct {
	Dir  string        `mapstructure:"dir" default:"" doc:"Folder of the event log. Empty: the folder events in the state folder."`
	Keep time.Duration `mapstructure:"keep" default:"4416h" doc:"Entries are kept at least this long, whatever happens to studies and cases; at least 183 days (4392h)."`
}

// minKeep is six months, the least that Article 26(6) of Regulation (EU) 2024/1689 asks of those who run such a system.
const minKeep = 183 * 24 * time.Hour

// Audit is where audit messages go.
type Audit struct {
	Server     string `mapstructure:"server" default:"" doc:"host:port of an audit repository: syslog over TLS (RFC 5425), with the files of dicom.tls. Messages wait in the event log while it is away."`
	ServerName string `mapstructure:"server_name" default:"" doc:"Host name expected in its certificate. Empty: the host in server."`
	File       string `mapstructure:"file" default:"" doc:"File to which audit messages are appended, one on a line. For a site without a repository."`
	SourceID   string `mapstructure:"source_id" default:"ichor" doc:"Audit Source ID in the messages."`
}

// Tracing is where traces go.
type Tracing struct {
	Endpoint string `mapstructure:"endpoint" default:"" doc:"URL of a collector for OTLP over HTTP, such as http://127.0.0.1:4318. Empty: no traces."`
}

func (t *Tracing) validate() error {
	if t.Endpoint == "" {
		return nil
	}
	if u, err := url.Parse(t.Endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return fmt.Errorf("tracing.endpoint %q: write a URL such as http://127.0.0.1:4318; a token goes into OTEL_EXPORTER_OTLP_HEADERS", t.Endpoint)
	}
	return nil
}

func (c *Canary) validate(destinations []Destination) error {
	var errs []error
	if _, err := time.Parse("15:04", c.At); c.At != "" && err != nil {
		errs = append(errs, fmt.Errorf("canary.at %q: write a time of day, such as 04:30, or leave it empty", c.At))
	}
	if c.Tolerance < 0 {
		errs = append(errs, fmt.Errorf("canary.tolerance %d: write a percentage, or 0 to compare no volumes", c.Tolerance))
	}
	for _, name := range c.Deliver {
		if !slices.ContainsFunc(destinations, func(d Destination) bool { return d.Name == name }) {
			errs = append(errs, fmt.Errorf("canary.deliver %q: no destination has this name", name))
		}
	}
	return errors.Join(errs...)
}

// Daily returns the time of day, and false if the self-test is not daily.
func (c *Canary) Daily() (hour, minute int, ok bool) {
	t, err := time.Parse("15:04", c.At)
	return t.Hour(), t.Minute(), err == nil
}

func (e *Events) validate() error {
	if e.Keep < minKeep {
		return fmt.Errorf("events.keep %v: must be at least %v (183 days)", e.Keep, minKeep)
	}
	return nil
}

func (a *Audit) validate() error {
	var errs []error
	if a.Server != "" && !hostPort(a.Server) {
		errs = append(errs, fmt.Errorf("audit.server %q: write host:port, such as audit.example.org:6514", a.Server))
	}
	if a.SourceID == "" || len(a.SourceID) > 64 {
		errs = append(errs, fmt.Errorf("audit.source_id %q: write 1 to 64 characters", a.SourceID))
	}
	return errors.Join(errs...)
}

// prefixes parses address ranges; a single address is a range of one.
func prefixes(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
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
