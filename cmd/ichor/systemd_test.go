package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ichor/reporting/events"
)

// manager plays systemd: it hears what a service tells.
type manager struct {
	t     *testing.T
	conn  *net.UnixConn
	heard []string // and not asked for yet
}

func newManager(t *testing.T) *manager {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", socket)
	return &manager{t: t, conn: conn}
}

// hears waits for a message with all of these words, which may have come before others that a test asked for.
func (m *manager) hears(words ...string) {
	m.t.Helper()
	match := func(message string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(message, w) })
	}
	if i := slices.IndexFunc(m.heard, match); i >= 0 {
		m.heard = slices.Delete(m.heard, i, i+1)
		return
	}
	buf := make([]byte, 4000)
	if err := m.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		m.t.Fatal(err)
	}
	for {
		n, err := m.conn.Read(buf)
		if err != nil {
			slices.Sort(m.heard)
			m.t.Fatalf("nobody told %q: %v; told were %q", words, err, slices.Compact(m.heard))
		}
		if match(string(buf[:n])) {
			return
		}
		m.heard = append(m.heard, string(buf[:n]))
	}
}

// TestNotify: the node tells systemd that it is ready once it listens, that it is alive, what it does, and that it stops on
// SIGTERM, after which it ends in order.
func TestNotify(t *testing.T) {
	systemd := newManager(t)
	p := newProcess(t, startPACS(t))
	t.Setenv("WATCHDOG_USEC", "400000")
	p.start()
	systemd.hears("READY=1")
	systemd.hears("WATCHDOG=1")
	systemd.hears("STATUS=0 associations; 0 studies arriving")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	systemd.hears("STOPPING=1", "STATUS=stopping")
	<-p.ended
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

// TestReload changes the file of a running node and sends SIGHUP: who may connect and the token change at once, other keys are
// named, and a file that is refused changes nothing. The node goes on all the while.
func TestReload(t *testing.T) {
	systemd := newManager(t)
	p := newProcess(t, startPACS(t))
	first, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reload := func(words ...string) {
		t.Helper()
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		systemd.hears("RELOADING=1", "MONOTONIC_USEC=")
		systemd.hears(append([]string{"READY=1", "STATUS="}, words...)...)
	}
	echoes := func(calling string) bool {
		t.Helper()
		code, _, stderr := command(t, "echo", p.address, "--calling", calling)
		if code != 0 && !strings.Contains(stderr, "calling AE title not recognized") {
			t.Errorf("echo: %s", stderr)
		}
		return code == 0
	}
	p.start()
	systemd.hears("READY=1")
	if !echoes("CT1") || !echoes("CT2") {
		t.Error("without peers everyone may connect")
	}
	only := func(title string) string {
		return strings.Replace(string(first), "reserve_mib: 16", "reserve_mib: 16, peers: [{ae_title: "+title+"}]", 1)
	}
	write(p.config, only("CT1"))
	reload("STATUS=0 associations")
	if !echoes("CT1") || echoes("CT2") {
		t.Error("the new peers are not those of the file")
	}
	write(p.config, strings.Replace(only("CT2"), "quiet_period: 1500ms", "quiet_periode: 1s", 1))
	reload("the changed configuration is not in use", "quiet_periode")
	alarms := func() string {
		t.Helper()
		_, out, _ := command(t, "status", "--alarms", "--http", p.http)
		return out
	}
	if out := alarms(); !strings.Contains(out, "the changed configuration was refused") || !strings.Contains(out, "quiet_periode") {
		t.Errorf("no alarm for a file that was refused:\n%s", out)
	}
	if !echoes("CT1") || echoes("CT2") {
		t.Error("a file that was refused changed the peers")
	}
	write(token, "0123456789abcdef\n")
	write(p.config, strings.Replace(strings.Replace(only("CT2"), "quiet_period: 1500ms", "quiet_period: 1s", 1), fmt.Sprintf("{listen: %q}", p.http), fmt.Sprintf("{listen: %q, token_file: %s}", p.http, token), 1))
	reload("restart to use the new values of assembly.quiet_period;")
	if echoes("CT1") || !echoes("CT2") {
		t.Error("what can be taken over waits for what cannot")
	}
	ok(t, "status", "--config", p.config)
	if code, _, stderr := command(t, "status", "--http", p.http, "--config", os.DevNull); code != exitFailed || !strings.Contains(stderr, "401") {
		t.Errorf("the token is not required: code %d, %s", code, stderr)
	}
	write(p.config, string(first))
	reload("STATUS=0 associations")
	if out := alarms(); strings.Contains(out, "was refused") {
		t.Errorf("the alarm of a corrected file stays:\n%s", out)
	}
	var recorded []string
	eventually(t, "four entries in the event log", func() bool {
		recorded = nil
		err := events.Read(filepath.Join(p.state, "events"), 0, func(e events.Event) error {
			if e.Kind == events.Changed {
				recorded = append(recorded, strings.TrimSpace(e.Outcome+" "+e.Detail))
			}
			return nil
		})
		return err == nil && len(recorded) == 4
	})
	all := strings.Join(recorded, "\n")
	for _, want := range []string{", changed: dicom.peers\n", "refused the changed configuration", "http.token_file, not in use until a restart: assembly.quiet_period\n"} {
		if !strings.Contains(all, want) {
			t.Errorf("the event log does not say %q:\n%s", want, all)
		}
	}
	if strings.Contains(all, "0123456789abcdef") || strings.Contains(all, "quiet_periode") {
		t.Errorf("values are in the event log:\n%s", all)
	}
	p.kill()
	<-p.ended
	for _, want := range []string{`msg="configuration reloaded" changed=dicom.peers`, `msg="configuration not reloaded`, "keys=assembly.quiet_period", `changed="dicom.peers http.token_file"`} {
		if !strings.Contains(p.log.String(), want) {
			t.Errorf("the log has no %s", want)
		}
	}
}
