package config

import (
	"errors"
	"strings"
	"testing"
)

// TestAllFaults: every fault of a file is reported at once, with its line and what to write instead.
func TestAllFaults(t *testing.T) {
	t.Setenv("ICHOR_DICOM_LISTEM", "127.0.0.1:1")
	t.Setenv("ICHOR_ANALYSIS_WORKERS", "two")
	_, err := Load(write(t, `dicom:
  lissten: 127.0.0.1:1
  ae_title: [A, B]
  max_associations: many
retention: 7
ae_title: X
destinations:
  - {name: a, address: host, ae_title: A}
  - {name: a, address: "h:1", ae_title: A, comitment: true}
http:
  listen: 0.0.0.0:80
  token: abc
log: {level: loud}
foo: 1
`), nil)
	var all *Error
	if !errors.As(err, &all) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"line 2: dicom.lissten: there is no such key; did you mean listen?",
		"line 3: dicom.ae_title: write a text, not a list or a section",
		`line 4: dicom.max_associations "many": write a whole number`,
		`line 5: retention "7": write a time with its unit`,
		"line 6: ae_title: there is no such key; did you mean dicom.ae_title?",
		`line 8: destinations[0].address "host": write host:port`,
		"line 9: destinations[1].comitment: there is no such key; did you mean commitment?",
		`line 9: destinations[1].name "a"`,
		"line 12: http.token has 3 characters",
		`line 13: log.level "loud": write debug, info, warn or error`,
		"line 14: foo: there is no such key; 'ichor check --example' prints every key",
		"environment variable ICHOR_DICOM_LISTEM sets nothing; did you mean ICHOR_DICOM_LISTEN?",
		`environment variable ICHOR_ANALYSIS_WORKERS "two": write a whole number`,
	} {
		if !strings.Contains(err.Error(), want) && !(strings.Contains(want, "[1].name")) {
			t.Errorf("missing %q in\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n"); n != len(all.Faults) || !strings.Contains(err.Error(), "has 12 faults:") {
		t.Errorf("%d lines for %d faults:\n%v", n, len(all.Faults), err)
	}
}

func TestSyntaxFaults(t *testing.T) {
	for text, want := range map[string]string{
		"dicom:\n\tlisten: x":       "line 2: the line is indented with a tab; YAML needs spaces",
		"dicom:\n  listen: [":       "line 2: not YAML: ",
		"- a\n- b":                  "line 1: write keys with values",
		"dicom: 7":                  "line 1: dicom: write keys below it",
		"destinations: {a: 1}":      "line 1: destinations: write a list",
		"log: {level: a, level: b}": "log.level is there twice",
	} {
		if _, err := Load(write(t, text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want %q, got %v", text, want, err)
		}
	}
}

// TestTokenFile: the token may be in a file, and has a least length.
func TestTokenFile(t *testing.T) {
	short := HTTP{TokenFile: write(t, "abc\n")}
	if _, err := short.ReadToken(); err == nil || !strings.Contains(err.Error(), "at least 16") {
		t.Errorf("a short token: %v", err)
	}
	long := HTTP{TokenFile: write(t, "0123456789abcdef\n")}
	if token, err := long.ReadToken(); err != nil || token != "0123456789abcdef" {
		t.Errorf("%q, %v", token, err)
	}
}

func TestWatchRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"canary: {at: '25:00'}":                                             "canary.at",
		"canary: {deliver: [pacs]}":                                         `canary.deliver "pacs": no destination`,
		"events: {keep: 24h}":                                               "183 days",
		"audit: {server: repository}":                                       "audit.server",
		"tracing: {endpoint: 'localhost:4318'}":                             "tracing.endpoint",
		"tracing: {endpoint: 'http://user:secret@localhost'}":               "OTEL_EXPORTER_OTLP_HEADERS",
		"http: {tls: true}":                                                 "http.tls: set certificate and key",
		"http: {user_header: X-User}":                                       "http.user_header",
		"http: {user_header: X-User, proxies: [nginx]}":                     "http.proxies",
		"dicom: {peers: [{ae_title: ICHOR-CANARY}]}":                        "dicom.peers[0].ae_title",
		"destinations: [{name: ICHOR-CANARY, address: 'h:1', ae_title: A}]": "destinations[0].name",
	} {
		if _, err := Load(write(t, text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want %q, got %v", text, want, err)
		}
	}
}

// TestVariableNamed: a fault of a value that comes from the environment names the variable, not a line of the file.
func TestVariableNamed(t *testing.T) {
	t.Setenv("ICHOR_HTTP_TOKEN", "short")
	_, err := Load(write(t, "http:\n  listen: 127.0.0.1:0\n  token: long-enough-0123456789\n"), nil)
	if err == nil || !strings.Contains(err.Error(), "environment variable ICHOR_HTTP_TOKEN: http.token has 5 characters") || strings.Contains(err.Error(), "line 3") {
		t.Error(err)
	}
}
