package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ichor/reporting/iod"
)

var update = flag.Bool("update", false, "rewrite example.yaml")

func TestExampleFile(t *testing.T) {
	if *update {
		if err := os.WriteFile("example.yaml", []byte(Example()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != Example() {
		t.Error("example.yaml is not what the tags say: run go test ./config -update")
	}
}

func TestExampleIsTheDefault(t *testing.T) {
	a, err := Load("example.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Load(write(t, "{}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.DICOM.Listen != b.DICOM.Listen || a.Assembly != b.Assembly || a.Analysis != b.Analysis || a.Retention != b.Retention {
		t.Errorf("the example file changes a default: %+v and %+v", a, b)
	}
	if b.Assembly.QuietPeriod != 30*time.Second {
		t.Errorf("quiet period %v", b.Assembly.QuietPeriod)
	}
}

func write(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "ichor.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct{ name, yaml, says string }{
		{"unknown key", "dicom:\n  listne: x", "listne"},
		{"unknown section", "nonsense: 1", "nonsense"},
		{"not a number", "analysis:\n  workers: many", "workers"},
		{"open to the world", "dicom:\n  listen: 0.0.0.0:11112", "dicom.peers"},
		{"web open to the world", "http:\n  listen: 0.0.0.0:8080", "http.token"},
		{"systemd open to the world", "dicom:\n  listen: systemd", "dicom.peers"},
		{"TLS open to the world", "dicom:\n  tls: {listen: '0.0.0.0:2762', certificate: c, key: k, ca: a}", "dicom.peers"},
		{"no port at all", "dicom:\n  listen: ''", "dicom.listen"},
		{"TLS without certificate", "dicom:\n  tls: {listen: '127.0.0.1:2762', ca: a}", "dicom.tls.listen"},
		{"certificate without key", "dicom:\n  tls: {certificate: c}", "certificate and key"},
		{"TLS without authorities", "dicom:\n  tls: {listen: '127.0.0.1:2762', certificate: c, key: k}", "dicom.tls.ca"},
		{"name that nobody signs", "dicom:\n  tls: {listen: '127.0.0.1:2762', certificate: c, key: k}\n  peers: [{ae_title: CT1, certificates: [ct1]}]", "dicom.peers[0].certificates"},
		{"peer without fingerprint", "dicom:\n  tls: {listen: '127.0.0.1:2762', certificate: c, key: k}\n  peers: [{ae_title: CT1}]", "dicom.peers[0].certificates"},
		{"certificate without TLS", "dicom:\n  peers: [{ae_title: CT1, certificates: [ct1]}]", "dicom.tls.listen"},
		{"passcode without user", "dicom:\n  peers: [{ae_title: CT1, passcode: x}]", "dicom.peers[0].passcode"},
		{"passcode without user, destination", "destinations: [{name: a, address: 'h:1', ae_title: A, passcode: x}]", "destinations[0].passcode"},
		{"no place for a peer", "dicom:\n  max_per_peer: 0", "dicom.max_per_peer"},
		{"long title", "dicom:\n  ae_title: SEVENTEENLETTERS1", "dicom.ae_title"},
		{"blank title", "dicom:\n  ae_title: '  '", "dicom.ae_title"},
		{"provider", "analysis:\n  provider: gpu", "analysis.provider"},
		{"precision", "analysis:\n  precision: fp16", "analysis.precision"},
		{"nobody analyses", "analysis:\n  workers: 0", "analysis.workers 0"},
		{"workers without NATS", "workers:\n  listen: 0.0.0.0:8443", "set queue.url"},
		{"workers without certificate", "queue:\n  url: nats://h:4222\nworkers:\n  listen: 0.0.0.0:8443", "workers.certificate"},
		{"workers on no port", "workers:\n  listen: somewhere", "workers.listen"},
		{"least quiet period", "assembly:\n  least_quiet_period: 0s", "assembly.least_quiet_period"},
		{"replicas", "queue:\n  url: nats://x:4222\n  replicas: 2", "queue.replicas"},
		{"replicas of the embedded server", "queue:\n  replicas: 3", "queue.url"},
		{"certificate without its key", "queue:\n  url: nats://x:4222\n  certificate: a.pem", "queue.certificate"},
		{"pair without a server", "pair:\n  name: ct", "pair.name"},
		{"name of a pair", "queue:\n  url: nats://x:4222\npair:\n  name: c.t", "pair.name"},
		{"lease", "queue:\n  url: nats://x:4222\npair:\n  name: ct\n  lease: 1s", "pair.lease"},
		{"wait of a pair", "queue:\n  url: nats://x:4222\npair:\n  name: ct\n  wait: 1s", "pair.wait"},
		{"ack wait", "queue:\n  ack_wait: 10ms", "queue.ack_wait"},
		{"peer range", "dicom:\n  peers: [{ae_title: CT1, addresses: [10.0.0.300]}]", "dicom.peers[0].addresses"},
		{"same name twice", "destinations: [{name: a, address: 'h:1', ae_title: A}, {name: a, address: 'h:2', ae_title: B}]", "destinations[1].name"},
		{"no port", "destinations: [{name: a, address: host, ae_title: A}]", "destinations[0].address"},
		{"neither address nor url", "destinations: [{name: a}]", "destinations[0].address"},
		{"address and url", "destinations: [{name: a, url: 'https://h/dicom-web', address: 'h:1', ae_title: A}]", "destinations[0]"},
		{"password in url", "destinations: [{name: a, url: 'https://u:p@h/dicom-web'}]", "password_file"},
		{"other scheme", "destinations: [{name: a, url: 'ftp://h/'}]", "destinations[0].url"},
		{"token in the clear", "destinations: [{name: a, url: 'http://h:8042/dicom-web', token_file: t}]", "use https"},
		{"token and password", "destinations: [{name: a, url: 'https://h/', token_file: t, password_file: p}]", "either token_file or password_file"},
		{"token without url", "destinations: [{name: a, address: 'h:1', ae_title: A, token_file: t}]", "url"},
		{"hundred associations", "destinations: [{name: a, address: 'h:1', ae_title: A, associations: 100}]", "destinations[0].associations"},
		{"segmentation of another kind", "destinations: [{name: a, address: 'h:1', ae_title: A, segmentation: fractional}]", "destinations[0].segmentation"},
		{"deflated over the web", "destinations: [{name: a, url: 'https://h/', deflate: true}]", "destinations[0].deflate"},
		{"series keys of 0.1.0", "reporting:\n  series: {seg_number: 9001}", "object: SEG"},
		{"series of nobody", "reporting:\n  series: [{object: PDF}]", "reporting.series[0].object"},
		{"series twice", "reporting:\n  series: [{object: SC, number: 1}, {object: SC, number: 2}]", "reporting.series[1].object"},
		{"negative series number", "reporting:\n  series: [{object: SEG, number: -1}]", "reporting.series[0].number"},
		{"series number of another default", "reporting:\n  series: [{object: SR, number: 9002}]", "SC and SR both have number 9002"},
		{"description too long", "reporting:\n  series: [{object: SC, description: '" + strings.Repeat("RUO ", 17) + "'}]", "reporting.series[0].description"},
		{"description with a backslash", "reporting:\n  series: [{object: SC, description: 'RUO \\ x'}]", "reporting.series[0].description"},
		{"description of clinical use", "reporting:\n  series: [{object: SR, description: 'ICH report'}]", "RUO"},
		{"description with another word", "reporting:\n  series: [{object: SR, description: 'RUO {patient}'}]", "{model} and {version}"},
		{"segment of nothing", "reporting:\n  segments: [{subtype: CMB}]", "reporting.segments[0].subtype"},
		{"segment twice", "reporting:\n  segments: [{subtype: IVH}, {subtype: IVH}]", "reporting.segments[1].subtype IVH"},
		{"code without scheme", "reporting:\n  segments: [{subtype: IVH, code_value: '23276006', code_meaning: x}]", "reporting.segments[0].code_scheme"},
		{"code too long", "reporting:\n  segments: [{subtype: IVH, code_value: '12345678901234567', code_scheme: SCT, code_meaning: x}]", "reporting.segments[0].code_value"},
		{"region without meaning", "reporting:\n  segments: [{subtype: IVH, region_value: '35764002', region_scheme: SCT}]", "reporting.segments[0].region_meaning"},
		{"label of two lines", "reporting:\n  segments: [{subtype: IVH, label: \"a\\nb\"}]", "reporting.segments[0].label"},
		{"colour by name", "reporting:\n  segments: [{subtype: IVH, color: red}]", "reporting.segments[0].color"},
		{"asked nowhere", "dicom:\n  peers: [{ae_title: CT1, find: true}]", "dicom.peers[0]"},
		{"peer without port", "dicom:\n  peers: [{ae_title: CT1, address: host}]", "dicom.peers[0].address"},
		{"limit below quiet", "assembly:\n  quiet_period: 1m\n  limit: 1s", "assembly.limit"},
		{"not YAML", "dicom: [", "ichor.yaml"},
		{"a list, not keys", "- a\n- b", "ichor.yaml"},
		{"time without unit", "retention: 7", "retention"},
		{"time without unit, quoted", "dicom:\n  idle_timeout: '5'", "dicom.idle_timeout"},
		{"no time", "assembly:\n  quiet_period: soon", "assembly.quiet_period"},
		{"no port by number", "dicom:\n  listen: 127.0.0.1:70000", "host:port"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(write(t, c.yaml), nil)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("want one line naming %q, got: %v", c.says, err)
			}
		})
	}
}

// A setting of 0.1.0 in the environment must not be ignored.
func TestRetiredEnvironment(t *testing.T) {
	t.Setenv("ICHOR_REPORTING_SERIES_SEG_NUMBER", "77")
	if _, err := Load(write(t, "{}"), nil); err == nil || !strings.Contains(err.Error(), "ICHOR_REPORTING_SERIES_SEG_NUMBER") {
		t.Errorf("a retired variable: %v", err)
	}
}

// The defaults that duplicates are looked for among are those that the objects get.
func TestSeriesNumbers(t *testing.T) {
	for object, number := range seriesNumbers() {
		if d := iod.DefaultSeriesName(object); d.Number != number {
			t.Errorf("%s: %d here, %d in reporting/iod", object, number, d.Number)
		}
	}
}

// Settings that may be left out with TLS, and other combinations that are allowed.
func TestLoadAccepts(t *testing.T) {
	for name, text := range map[string]string{
		"TLS alone":         "dicom:\n  listen: ''\n  tls: {listen: systemd, certificate: c, key: k, ca: a}\n  peers: [{ae_title: CT1, certificates: [ct1]}]",
		"fingerprints":      "dicom:\n  tls: {listen: '127.0.0.1:2762', certificate: c, key: k}\n  peers: [{ae_title: CT1, certificates: ['sha256:00']}]",
		"one side":          "dicom:\n  tls: {listen: '127.0.0.1:2762', certificate: c, key: k, require_client_certificate: false}",
		"user":              "dicom:\n  peers: [{ae_title: CT1, username: ct, passcode: x, max_associations: 2}]",
		"one colour":        "reporting:\n  segments: [{subtype: EDH, color: '#d66eb2'}, {subtype: cavity, label: Schädelinneres}]",
		"a code":            "reporting:\n  segments: [{subtype: SAH, code_value: '21454007', code_scheme: SCT, code_meaning: Subarachnoid intracranial hemorrhage}]",
		"label map":         "destinations: [{name: a, address: 'h:1', ae_title: A, segmentation: labelmap, deflate: true}, {name: b, url: 'https://h/', segmentation: labelmap}]",
		"numbers swapped":   "reporting:\n  series: [{object: SC, number: 9003}, {object: SR, number: 9002, description: 'Report, RUO'}]",
		"destination alone": "destinations: [{name: a, address: 'h:1', ae_title: A, tls: true, server_name: pacs}]",
	} {
		if _, err := Load(write(t, text), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The installed file is readable only for root and its group. Others get an error that says so.
func TestUnreadable(t *testing.T) {
	if os.Getuid() != 0 {
		path := write(t, "{}")
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), "this user may not read it") {
			t.Errorf("unreadable file: %v", err)
		}
	}
	if _, err := Load("/dev/null", nil); err != nil {
		t.Errorf("the defaults by name: %v", err)
	}
}

// Zero needs no unit.
func TestZeroTime(t *testing.T) {
	c, err := Load(write(t, "retention: 0"), nil)
	if err != nil || c.Retention != 0 {
		t.Errorf("retention %v, %v", c.Retention, err)
	}
}

func TestPrecedence(t *testing.T) {
	path := write(t, "dicom:\n  listen: 127.0.0.1:1\n  ae_title: FILE")
	t.Setenv("ICHOR_DICOM_AE_TITLE", "ENV")
	t.Setenv("ICHOR_ASSEMBLY_QUIET_PERIOD", "7s")
	c, err := Load(path, map[string]any{"dicom.listen": "127.0.0.1:2"})
	if err != nil {
		t.Fatal(err)
	}
	if c.DICOM.Listen != "127.0.0.1:2" || c.DICOM.AETitle != "ENV" || c.Assembly.QuietPeriod != 7*time.Second {
		t.Errorf("flag over environment over file: %+v", c)
	}
}
