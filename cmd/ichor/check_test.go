package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ichor/cmd/ichor/doctor"
	"ichor/config"
	"ichor/reporting/web"
	"ichor/scp/scptest"
)

// graded are the lines of a report by what they are about.
func graded(lines []doctor.Line) map[string]doctor.Line {
	by := map[string]doctor.Line{}
	for _, l := range lines {
		by[l.What] = l
	}
	return by
}

// TestCheckBesideNode: beside a running node check asks that node, whose ports are its own, names each destination, and says when
// each peer last called.
func TestCheckBesideNode(t *testing.T) {
	pacs := startPACS(t)
	c := toPACS(t, pacs)
	c.DICOM.Peers = []config.Peer{{AETitle: "CT1"}, {AETitle: "CT2"}}
	n := startNode(t, c)
	ok(t, "echo", n.Addr(), "--calling", "CT1")
	c.HTTP.Listen, c.DICOM.Listen = n.HTTPAddr(), n.Addr()
	archive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // answers as Orthanc does
		if r.Method == http.MethodOptions {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer archive.Close()
	c.Destinations = append(c.Destinations,
		config.Destination{Name: "unreadable", URL: archive.URL, TokenFile: filepath.Join(t.TempDir(), "none")},
		config.Destination{Name: "gone", Address: closedAddress(t), AETitle: "GONE"},
		config.Destination{Name: "wrong", Address: pacs.Address(), AETitle: "OTHER"},
		config.Destination{Name: "cloud", URL: archive.URL + "/dicom-web"})
	by := graded(doctor.Examine(t.Context(), examination(t.Context(), c, false)))
	for what, want := range map[string]struct {
		grade doctor.Grade
		says  string
	}{
		"running node":           {doctor.OK, "ready"},
		"port":                   {doctor.OK, n.Addr() + " is held by the running node"},
		"models":                 {doctor.OK, "the running node uses ichor-synthetic"},
		"senders":                {doctor.OK, "CT1, CT2 may send"},
		"peer CT1":               {doctor.OK, "last called at"},
		"peer CT2":               {doctor.Warning, "has not called since the start"},
		"destination pacs":       {doctor.OK, "PACS at " + pacs.Address() + " answers C-ECHO and accepts the results"},
		"destination gone":       {doctor.Failed, "GONE at "},
		"destination unreadable": {doctor.Failed, "no such file"},
		"destination wrong":      {doctor.Failed, "called AE title not recognized"},
		"destination cloud":      {doctor.OK, archive.URL + "/dicom-web accepts our credentials"},
	} {
		if l := by[what]; l.Grade != want.grade || !strings.Contains(l.Detail, want.says) {
			t.Errorf("%s: want %s with %q, got %+v", what, want.grade, want.says, l)
		}
	}
	for what := range by {
		if what == "dicom.listen" || what == "http.listen" {
			t.Errorf("the port of the running node is tried: %+v", by[what])
		}
	}
}

// TestStatusOverTLS: the commands trust exactly the certificate of the node.
func TestStatusOverTLS(t *testing.T) {
	t.Parallel()
	authority := scptest.NewAuthority(t)
	c := overTLS(t, authority)
	c.HTTP.TLS, c.HTTP.Token = true, "0123456789abcdef"
	n := startNode(t, c)
	c.HTTP.Listen = n.HTTPAddr()
	ours, err := newClient(c)
	if err != nil {
		t.Fatal(err)
	}
	var about web.Node
	if err := ours.get("node", &about); err != nil || about.Version != version {
		t.Errorf("%+v, %v", about, err)
	}
	c.DICOM.TLS.Certificate = authority.Valid("other").File
	if ours, err = newClient(c); err != nil {
		t.Fatal(err)
	}
	if err := ours.get("node", &about); err == nil || !strings.Contains(err.Error(), "does not have the certificate") {
		t.Errorf("another server is trusted: %v", err)
	}
}

// TestCheckAlone: without a node check says what was read, that nobody can send and that nothing is delivered, measures the disk and
// reads the clock.
func TestCheckAlone(t *testing.T) {
	c := testConfig(t)
	c.Source = config.Defaults
	c.HTTP.Listen = closedAddress(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c.DICOM.Listen = taken.Addr().String()
	by := graded(doctor.Examine(t.Context(), examination(t.Context(), c, true)))
	for what, want := range map[string]struct {
		grade doctor.Grade
		says  string
	}{
		"configuration": {doctor.OK, "no file was read"},
		"senders":       {doctor.Warning, "only programs on this machine can send"},
		"destinations":  {doctor.Warning, "nothing is delivered"},
		"dicom.listen":  {doctor.Failed, "another program holds the port"},
		"http.listen":   {doctor.OK, "is free"},
		"state folder":  {doctor.OK, "is writable"},
		"models":        {doctor.OK, "reproduces its references"},
	} {
		if l := by[what]; l.Grade != want.grade || !strings.Contains(l.Detail, want.says) {
			t.Errorf("%s: want %s with %q, got %+v", what, want.grade, want.says, l)
		}
	}
	if l := by["disk"]; !strings.Contains(l.Detail, "MB/s") {
		t.Errorf("disk: %+v", l)
	}
	if l := by["clock"]; l.Grade == "" || l.Grade == doctor.Failed {
		t.Errorf("clock: %+v", l)
	}
	left, err := filepath.Glob(filepath.Join(c.State, ".check-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestCheckFaultyFile: a faulty configuration gives all faults, also as JSON.
func TestCheckFaultyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ichor.yaml")
	if err := os.WriteFile(path, []byte("dicom:\n  lissten: x\nlog:\n  level: loud\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"check", "--config", path}, asCaller()...)
	code, out, errs := command(t, args...)
	if code == 0 || code == 1 || out != "" || !strings.Contains(errs, "has 2 faults:\n  line 2: dicom.lissten: there is no such key; did you mean listen?\n  line 4: log.level") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	code, out, _ = command(t, append(args, "--json")...)
	var lines []doctor.Line
	if err := json.Unmarshal([]byte(out), &lines); err != nil || code == 0 || code == 1 || len(lines) != 2 || lines[1].OK || lines[1].Grade != doctor.Failed || !strings.HasPrefix(lines[1].Detail, "line 4: ") {
		t.Errorf("exit code %d, %v: %+v", code, err, lines)
	}
	t.Setenv("ICHOR_DICOM_LISTEM", "x")
	if code, _, errs := command(t, append([]string{"check", "--offline"}, asCaller()...)...); code == 0 || !strings.Contains(errs, "did you mean ICHOR_DICOM_LISTEN?") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

// TestCheckAsServiceUser: root finds what the service user may not do.
func TestCheckAsServiceUser(t *testing.T) {
	if os.Getuid() != 0 {
		if code, _, errs := command(t, "check", "--user", "nobody"); code != 2 || !strings.Contains(errs, "--user needs root") {
			t.Errorf("exit code %d\n%s", code, errs)
		}
		t.Skip("only root can take the rights of another user")
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // the two folders of this test are for its user only
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	state, key := filepath.Join(dir, "state"), filepath.Join(dir, "token")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ichor.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, "state: %s\nhttp: {listen: '127.0.0.1:1', token_file: %s}\nanalysis: {library: /nonexistent.so}\n", state, key), 0o644); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "ichor")
	text, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func(was string) { binary = was }(binary)
	binary = program
	code, out, errs := command(t, "check", "--offline", "--config", path, "--json", "--user", "nobody")
	var lines []doctor.Line
	if err := json.Unmarshal([]byte(out), &lines); err != nil || code != 1 {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, out, errs)
	}
	by := graded(lines)
	if l := by["user"]; !strings.Contains(l.Detail, "nobody") {
		t.Errorf("user: %+v", l)
	}
	for _, what := range []string{"state folder", "http"} {
		if l := by[what]; l.Grade != doctor.Failed || !strings.Contains(l.Detail, "permission denied") {
			t.Errorf("%s: %+v", what, l)
		}
	}
	_, out, _ = command(t, "check", "--offline", "--config", path, "--json", "--user", "root")
	if err := json.Unmarshal([]byte(out), &lines); err != nil {
		t.Fatal(err)
	}
	if l := graded(lines)["state folder"]; l.Grade != doctor.OK {
		t.Errorf("as root: %+v", l)
	}
	if code, _, errs := command(t, "check", "--user", "no-such-user"); code != 2 || !strings.Contains(errs, "no-such-user") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}
