package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ichor/cmd/ichor/doctor"
	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/reporting/web"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/scptest"
	"ichor/scp/ul"
)

const operate = "../../docs/operate.md"

// seen is a fault that was caused, with where it was seen.
type seen struct {
	fault, log string
	alarm      web.Alarm // dashboard, status, /readyz, metrics and doctor
	remedy     string    // if the text of the alarm has a time or an address of this run
}

// watching looks at a node as an operator does.
type watching struct {
	t    *testing.T
	n    *node.Node
	c    config.Config
	log  *scptest.Log
	rows *[]seen
}

func watch(t *testing.T, c config.Config, rows *[]seen) watching {
	t.Helper()
	log := &scptest.Log{}
	n := startLogging(t, c, slog.New(slog.NewTextHandler(log, nil)))
	c.HTTP.Listen = n.HTTPAddr()
	return watching{t, n, c, log, rows}
}

func (w watching) get(path string) string {
	w.t.Helper()
	answer, err := http.Get("http://" + w.n.HTTPAddr() + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// sees checks that a fault is seen in the log, on the dashboard, in status, /readyz, metrics and by the doctor.
func (w watching) sees(fault, name, subject, logged, remedy string) {
	t := w.t
	t.Helper()
	title := strings.TrimSpace(name + " " + subject)
	metric := fmt.Sprintf("ichor_alarm{name=%q,severity=", name)
	eventually(t, fault+": metric "+metric, func() bool {
		for line := range strings.Lines(w.get("/metrics")) {
			if strings.HasPrefix(line, metric) && strings.Contains(line, fmt.Sprintf("subject=%q} 1", subject)) {
				return true
			}
		}
		return false
	})
	if text := w.get("/"); !strings.Contains(text, "<strong>"+title+"</strong>: ") {
		t.Errorf("%s: the dashboard does not say %s:\n%.3000s", fault, title, text)
	}
	if text := w.get("/readyz"); !strings.Contains(text, title+": ") {
		t.Errorf("%s: /readyz does not say %s: %s", fault, title, text)
	}
	args := []string{"status", "--http", w.n.HTTPAddr()}
	if _, text, errs := command(t, args...); !strings.Contains(text, title+": ") {
		t.Errorf("%s: status does not say %s:\n%s%s", fault, title, text, errs)
	}
	lines := doctor.Examine(t.Context(), examination(t.Context(), w.c, true))
	if !slices.ContainsFunc(lines, func(l doctor.Line) bool { return l.What == title && l.Grade != doctor.OK }) {
		t.Errorf("%s: the doctor does not say %s: %+v", fault, title, lines)
	}
	for _, want := range []string{logged, "alarm=" + name} {
		eventually(t, fault+": "+want+" in the log", func() bool { return strings.Contains(w.log.String(), want) })
	}
	s := seen{fault: fault, log: logged, remedy: remedy}
	eventually(t, fault, func() bool {
		var n web.Node
		if err := (client{base: "http://" + w.n.HTTPAddr() + "/api/v1/"}).get("node", &n); err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(n.Alarms, func(a web.Alarm) bool { return a.Name == name && a.Subject == subject })
		if i >= 0 {
			s.alarm = n.Alarms[i]
		}
		return i >= 0
	})
	if s.remedy == "" {
		s.remedy = s.alarm.Remedy
	}
	*w.rows = append(*w.rows, s)
}

// TestFaultTable causes each fault of the table in docs/operate.md, and checks where it is seen.
func TestFaultTable(t *testing.T) {
	var rows []seen
	authority := scptest.NewAuthority(t)

	// Peers, destinations, tokens and certificates.
	pacs := startPACS(t)
	old := authority.Issue("old", time.Now().Add(-time.Hour))
	c := toPACS(t, pacs)
	c.DICOM.TLS = config.TLS{Listen: "127.0.0.1:0", Certificate: old.File, Key: old.Key, CA: authority.CA, RequireClient: true}
	c.DICOM.Peers = []config.Peer{{AETitle: "TEST"}}
	c.Destinations = append(c.Destinations,
		config.Destination{Name: "dead", Address: closedAddress(t), AETitle: "DEAD"},
		config.Destination{Name: "misnamed", Address: pacs.Address(), AETitle: "OTHER"})
	c.Audit.Server = closedAddress(t)
	w := watch(t, c, &rows)
	w.sees("Own certificate expired", "certificate", old.File, `msg="needs attention" alarm=certificate`, "")
	ichor := func(want int, args ...string) {
		t.Helper()
		if code, out, errs := command(t, args...); code != want {
			t.Fatalf("%q: exit code %d\n%s%s", args, code, out, errs)
		}
	}
	ichor(1, "echo", w.n.Addr(), "--calling", "STRANGER")
	w.sees("An unknown peer calls", "caller-rejected", "", "this AE title is not in dicom.peers", "")
	ichor(1, "echo", w.n.Addr(), "--calling", "TEST", "--called", "WRONG")
	w.sees("A peer calls a wrong AE title", "caller-rejected", "", "called AE title not recognized", "")
	pacs.Fail(dimse.SOPClassNotSupported, 1)
	dir, _ := sampleStudy(t, "normal")
	ichor(0, "send", w.n.Addr(), filepath.Join(dir, "CT0001.dcm"), "--calling", "TEST") // refused: too few slices
	w.sees("PACS is down", "destination-down", "dead", `msg="destination is down" dest=dead`, "")
	w.sees("PACS does not know our AE title, or has another one", "destination-down", "misnamed", "called AE title not recognized, check the title", "")
	w.sees("PACS refuses results for good", "dead-letters", "pacs", `msg="delivery given up" dest=pacs`, "")
	w.sees("Audit repository is down", "audit-repository", "", `msg="audit messages wait"`, "")

	// The self-test, tokens, and rejected contexts.
	c = testConfig(t)
	c.Analysis.MinSlices = 1000
	w = watch(t, c, &rows)
	if r, err := w.n.Canary(t.Context()); err != nil || r.OK {
		t.Fatalf("%+v, %v", r, err)
	}
	w.sees("A setting, the networks or the disk make analyses fail", "canary", "", `msg="self-test failed"`, "")
	scu, err := dimse.Connect(t.Context(), dimse.ConnectOptions{Address: w.n.Addr(), CallingAE: "CT1", CalledAE: "ICHOR", Contexts: printing()})
	if err == nil {
		err = scu.Release(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	w.sees("A peer proposes objects that are not accepted", "contexts-rejected", "", `msg="presentation contexts not accepted`, "")

	// A full disk.
	c = testConfig(t)
	c.DICOM.ReserveMiB = 1 << 30
	w = watch(t, c, &rows)
	w.sees("Disk is full", "disk", "", `msg="not ready" err="disk: `, "")

	// The event log.
	c = testConfig(t)
	c.Events.Dir = filepath.Join(t.TempDir(), "events")
	w = watch(t, c, &rows)
	if err := os.RemoveAll(c.Events.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Events.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ichor(0, "echo", w.n.Addr())
	ichor(1, "echo", w.n.Addr(), "--called", "WRONG") // an event
	w.sees("Event log cannot be written", "events", "", `msg="event log cannot be written`, "")
	if err := os.Remove(c.Events.Dir); err != nil {
		t.Fatal(err)
	}

	rows = append(rows, reloaded(t), crashed(t))
	compareTable(t, rows, libraryRow(t))
}

// printing proposes a class that nothing here stores.
func printing() []ul.ProposedContext {
	return []ul.ProposedContext{{AbstractSyntax: "1.2.840.10008.5.1.1.9", TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian}}}
}

// crashed kills a node, starts it again, and looks.
func crashed(t *testing.T) seen {
	t.Helper()
	p := newProcess(t, startPACS(t))
	p.start()
	eventually(t, "the mark of a running node", func() bool { _, err := os.Stat(filepath.Join(p.state, "running")); return err == nil })
	if err := p.cmd.Process.Signal(syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	if code := p.cmd.ProcessState.ExitCode(); code == 0 || code == 1 || code == 78 {
		t.Errorf("a crash ends with %d, which is not restarted", code)
	}
	p.start()
	const name = "crash"
	s := seen{fault: "The process crashes (kill -SEGV) and is restarted", log: `alarm=crash`, remedy: "nothing acknowledged is lost; look in the log before the start for the cause, and report it"}
	alarmed(t, p, name)
	eventually(t, s.log+" in the log", func() bool { return strings.Contains(p.log.String(), s.log) }) // a node that stops logs no alarms any more
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	if !strings.Contains(p.log.String(), s.log) || !strings.Contains(p.log.String(), "msg=stopped") {
		t.Errorf("the log:\n%s", p.log)
	}
	if _, err := os.Stat(filepath.Join(p.state, "running")); err == nil {
		t.Error("a node that stopped in order is taken for one that crashed")
	}
	s.alarm = web.Alarm{Name: name, Severity: web.Warning}
	return s
}

// reloaded gives a running process a file with a fault, and looks. Then it corrects the file.
func reloaded(t *testing.T) seen {
	t.Helper()
	p := newProcess(t, startPACS(t))
	p.start()
	good, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(file string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(p.config, []byte(file), 0o600), p.cmd.Process.Signal(syscall.SIGHUP)); err != nil {
			t.Fatal(err)
		}
	}
	const name = "configuration"
	alarms := func() string { _, out, _ := command(t, "status", "--alarms", "--http", p.http); return out }
	reload(strings.Replace(string(good), "dicom: {", "dicom: {lisen: x, ", 1))
	eventually(t, "the alarm", func() bool { return strings.Contains(alarms(), name+": ") })
	alarmed(t, p, name)
	s := seen{fault: "A changed configuration has faults (SIGHUP)", log: "dicom.lisen: there is no such key", alarm: web.Alarm{Name: name, Severity: web.Warning},
		remedy: "correct the file ('ichor check' shows its faults) and reload again"}
	logged := func(lines ...string) {
		t.Helper()
		for _, line := range lines {
			eventually(t, line+" in the log", func() bool { return strings.Contains(p.log.String(), line) })
		}
	}
	logged(s.log, "alarm="+name) // before the alarm ends: the log hears of alarms every few seconds
	reload(string(good))
	eventually(t, "the end of the alarm", func() bool { return !strings.Contains(alarms(), name+": ") })
	logged(`msg="configuration reloaded"`)
	p.kill()
	<-p.ended
	return s
}

// alarmed checks that status, metrics, pages and doctor tell of a warning of a process.
func alarmed(t *testing.T, p *process, name string) {
	t.Helper()
	for what, text := range map[string]func() string{
		"status":  func() string { _, out, _ := command(t, "status", "--http", p.http); return out },
		"metrics": func() string { return get(t, "http://"+p.http+"/metrics") },
		"page":    func() string { return get(t, "http://"+p.http+"/") },
		"readyz":  func() string { return get(t, "http://"+p.http+"/readyz") },
		"check": func() string {
			_, out, errs := command(t, "check", "--offline", "--config", p.config, "--user", "root")
			return out + errs
		},
	} {
		want := map[string]string{"metrics": fmt.Sprintf(`ichor_alarm{name=%q,severity="warning",subject=""} 1`, name), "page": "<strong>" + name + "</strong>"}[what]
		if want == "" {
			want = name
		}
		if got := text(); !strings.Contains(got, want) {
			t.Errorf("%s does not say %s:\n%.2000s", what, want, got)
		}
	}
}

// asCaller makes check use the rights of the caller, also on a machine where ichor is installed.
func asCaller() []string {
	if os.Getuid() == 0 {
		return []string{"--user", "root"}
	}
	return nil
}

func get(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// libraryRow copies the library in part: the node does not start, and every command says why in one line.
func libraryRow(t *testing.T) string {
	t.Helper()
	whole, err := os.ReadFile(library(t))
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(t.TempDir(), "libonnxruntime.so.1.24.4")
	if err := os.WriteFile(half, whole[:len(whole)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	common := []string{"--bundle", shippedBundle(t), "--library", half}
	for _, args := range [][]string{
		append([]string{"models", "verify"}, common...),
		append([]string{"check", "--offline", "--state", t.TempDir(), "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"}, append(asCaller(), common...)...),
		append([]string{"serve", "--log-level", "error", "--state", t.TempDir(), "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"}, common...),
	} {
		code, out, errs := command(t, args...)
		if code != 1 || strings.Contains(out+errs, "goroutine") || !strings.Contains(out+errs, "is not a whole shared library") || strings.Count(errs, "\n") > 1 {
			t.Errorf("%s: exit code %d\n%s%s", args[0], code, out, errs)
		}
	}
	return "| ONNX Runtime is copied in part | the node does not start: doctor line `library`, FAILED | `is not a whole shared library` | `up` of Prometheus | copy it again, or install the package again |\n"
}

// compareTable compares the rows with the table in docs/operate.md.
func compareTable(t *testing.T, rows []seen, last string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("| What happens | Alarm on dashboard, in status, `/readyz` and doctor | Log | Metric | What to do |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		subject := r.alarm.Subject
		if strings.Contains(subject, "/") {
			subject = "FILE"
		}
		fmt.Fprintf(&b, "| %s | `%s` (%s) | `%s` | `ichor_alarm{name=%q}` | %s |\n", r.fault, strings.TrimSpace(r.alarm.Name+" "+subject), r.alarm.Severity, r.log, r.alarm.Name, r.remedy)
	}
	b.WriteString(last)
	text, err := os.ReadFile(operate)
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?s)(<!-- table: faults -->\n).*?(<!-- end -->)`)
	fresh := block.ReplaceAllLiteralString(string(text), "<!-- table: faults -->\n"+b.String()+"<!-- end -->")
	if *update {
		if err := os.WriteFile(operate, []byte(fresh), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if fresh != string(text) {
		t.Errorf("docs/operate.md is not what was seen: run go test ./cmd/ichor -run TestFaultTable -update, and read the difference:\n%s", b.String())
	}
	for _, name := range node.AlarmNames() {
		if !strings.Contains(string(text), "### "+name+"\n") {
			t.Errorf("docs/operate.md does not say what to do about the alarm %s", name)
		}
	}
}

// TestTokenAlarm: wrong tokens are seen everywhere.
func TestTokenAlarm(t *testing.T) {
	c := testConfig(t)
	c.HTTP.Token = "0123456789abcdef"
	var log scptest.Log
	n := startLogging(t, c, slog.New(slog.NewTextHandler(&log, nil)))
	code, _, errs := command(t, "status", "--http", n.HTTPAddr(), "--token", "0123456789abcdeX")
	if code != 1 || !strings.Contains(errs, "401") {
		t.Errorf("%d %s", code, errs)
	}
	if _, out, _ := command(t, "status", "--http", n.HTTPAddr(), "--token", c.HTTP.Token); !strings.Contains(out, "token: 1 wrong tokens came from 127.0.0.1") {
		t.Error(out)
	}
	eventually(t, "in the log", func() bool {
		return strings.Contains(log.String(), `msg="wrong token for the web interface" from=127.0.0.1`) && strings.Contains(log.String(), "alarm=token")
	})
}
