package config

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate checks values and combinations. Each of the joined errors begins with its key and says what to write instead.
func (c *Config) Validate() error {
	errs := []error{aeTitle("dicom.ae_title", c.DICOM.AETitle), c.DICOM.validateListen()}
	for i, p := range c.DICOM.Peers {
		errs = append(errs, p.validate(fmt.Sprintf("dicom.peers[%d]", i)))
	}
	errs = append(errs, c.DICOM.validateTLS())
	names := map[string]bool{}
	for i, d := range c.Destinations {
		key := fmt.Sprintf("destinations[%d]", i)
		if d.Name == "" || d.Name == CanaryTitle || names[d.Name] {
			errs = append(errs, fmt.Errorf("%s.name %q: give each destination its own name", key, d.Name))
		}
		names[d.Name] = true
		errs = append(errs, d.validate(key))
		if d.Passcode != "" && d.Username == "" {
			errs = append(errs, fmt.Errorf("%s.passcode: a passcode needs a username", key))
		}
	}
	errs = append(errs, c.Reporting.validate(), c.HTTP.validate(c.DICOM.TLS), c.Canary.validate(c.Destinations), c.Events.validate(), c.Audit.validate(), c.Tracing.validate())
	for _, w := range []struct {
		key, value string
		allowed    []string
	}{
		{"analysis.provider", c.Analysis.Provider, []string{"cpu", "openvino", "cuda", "tensorrt"}},
		{"analysis.precision", c.Analysis.Precision, []string{"auto", "float32", "int8"}},
		{"analysis.operating_point", c.Analysis.OperatingPoint, []string{"balanced", "sensitive", "specific"}},
		{"log.level", c.Log.Level, []string{"debug", "info", "warn", "error"}},
		{"log.format", c.Log.Format, []string{"text", "json"}},
	} {
		if !slices.Contains(w.allowed, w.value) {
			last := len(w.allowed) - 1
			errs = append(errs, fmt.Errorf("%s %q: write %s or %s", w.key, w.value, strings.Join(w.allowed[:last], ", "), w.allowed[last]))
		}
	}
	return errors.Join(append(errs, c.validateWorkers(), c.validateQueue(), c.validatePair(), c.validateNumbers())...)
}

func (c *Config) validateWorkers() error {
	switch w := c.Workers; {
	case c.Analysis.Workers == 0 && w.Listen == "":
		return fmt.Errorf("analysis.workers 0: set workers.listen, so that workers of other machines can analyse, or write at least 1")
	case w.Listen == "":
		return nil
	case !hostPort(w.Listen):
		return fmt.Errorf("workers.listen %q: write host:port", w.Listen)
	case c.Queue.URL == "":
		return fmt.Errorf("workers.listen: set queue.url, the NATS server that nodes and workers share")
	case w.Certificate == "" || w.Key == "" || w.CA == "":
		return fmt.Errorf("workers.listen: set workers.certificate, workers.key and workers.ca")
	}
	return nil
}

func (c *Config) validateQueue() error {
	q := c.Queue
	var errs []error
	if !slices.Contains([]int{1, 3, 5}, q.Replicas) {
		errs = append(errs, fmt.Errorf("queue.replicas %d: write 1, 3 or 5", q.Replicas))
	}
	if (q.Certificate == "") != (q.Key == "") {
		errs = append(errs, fmt.Errorf("queue.certificate: set queue.certificate and queue.key together"))
	}
	if q.URL == "" && (q.Replicas != 1 || q.CA+q.Certificate+q.Credentials != "") {
		errs = append(errs, fmt.Errorf("queue.url: set it, or leave out replicas, ca, certificate, key and credentials; the embedded server has no use for them"))
	}
	return errors.Join(errs...)
}

// pairName is what a bucket of NATS can be called.
var pairName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

func (c *Config) validatePair() error {
	switch p := c.Pair; {
	case p.Name == "":
		return nil
	case !pairName.MatchString(p.Name):
		return fmt.Errorf("pair.name %q: use 1 to 32 letters, digits, - and _", p.Name)
	case c.Queue.URL == "":
		return fmt.Errorf("pair.name: set queue.url, the NATS server that both nodes share")
	case p.Lease < 2*time.Second || p.Lease > 5*time.Minute:
		return fmt.Errorf("pair.lease %v: write 2s to 5m", p.Lease)
	case p.Wait < p.Lease:
		return fmt.Errorf("pair.wait %v: must not be below pair.lease", p.Wait)
	}
	return nil
}

// oldest is the age of no patient, in years.
const oldest = 120

func (c *Config) validateNumbers() error {
	var errs []error
	for _, n := range []struct {
		key        string
		value, min int
	}{
		{"dicom.max_associations", c.DICOM.MaxAssociations, 1},
		{"dicom.max_per_peer", c.DICOM.MaxPerPeer, 1},
		{"dicom.max_object_mib", c.DICOM.MaxObjectMiB, 1},
		{"dicom.reserve_mib", c.DICOM.ReserveMiB, 0},
		{"dicom.prepared_mib", c.DICOM.PreparedMiB, 0},
		{"retention_gib", c.RetentionGiB, 0},
		{"analysis.workers", c.Analysis.Workers, 0},
		{"analysis.threads", c.Analysis.Threads, 0},
		{"analysis.min_slices", c.Analysis.MinSlices, 1},
		{"analysis.min_age", c.Analysis.MinAge, 0},
		{"analysis.max_tries", c.Analysis.MaxTries, 1},
	} {
		if n.value < n.min {
			errs = append(errs, fmt.Errorf("%s %d: must be at least %d", n.key, n.value, n.min))
		}
	}
	if c.Analysis.MinAge > oldest {
		errs = append(errs, fmt.Errorf("analysis.min_age %d: must be at most %d, or every patient is refused", c.Analysis.MinAge, oldest))
	}
	for _, d := range []struct {
		key string
		ok  bool
	}{
		{"dicom.request_timeout", c.DICOM.RequestTimeout > 0},
		{"dicom.idle_timeout", c.DICOM.IdleTimeout > 0},
		{"dicom.read_timeout", c.DICOM.ReadTimeout > 0},
		{"assembly.quiet_period", c.Assembly.QuietPeriod > 0},
		{"assembly.least_quiet_period", c.Assembly.LeastQuiet > 0},
		{"queue.ack_wait", c.Queue.AckWait >= time.Second},
		{"assembly.limit", c.Assembly.Limit >= c.Assembly.QuietPeriod},
		{"delivery.first_retry", c.Delivery.FirstRetry > 0},
		{"delivery.max_retry", c.Delivery.MaxRetry >= c.Delivery.FirstRetry},
		{"delivery.max_age", c.Delivery.MaxAge > 0},
		{"retention", c.Retention >= 0},
		{"retention_failed", c.RetentionFailed >= 0},
		{"retention_cases", c.RetentionCases >= 0},
	} {
		if !d.ok {
			errs = append(errs, fmt.Errorf("%s: must be a positive time such as 30s, and assembly.limit and delivery.max_retry not below the time they limit", d.key))
		}
	}
	return errors.Join(errs...)
}

// hostPort reports whether s is host:port with a numeric port. The host may be empty.
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
