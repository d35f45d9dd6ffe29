package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInstall stages what 'make install' puts in place, lets systemd judge the unit, and runs the installed program,
// which has to find its library and bundle under the prefix.
func TestInstall(t *testing.T) {
	t.Parallel()
	library(t)
	analyze := peer(t, "systemd-analyze", "systemd")
	stage := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "make", "-C", "../..", "install", "DESTDIR="+stage).CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	program := filepath.Join(stage, "usr/local/bin/ichor")
	unit, err := os.ReadFile(filepath.Join(stage, "usr/lib/systemd/system/ichor.service"))
	if err != nil {
		t.Fatal(err)
	}
	units := t.TempDir()
	staged := []string{"verify", filepath.Join(units, "ichor.service")}
	if err := os.WriteFile(staged[1], []byte(strings.ReplaceAll(string(unit), "/usr/local/bin/ichor", program)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ichor.socket", "ichor-tls.socket"} {
		socket, err := os.ReadFile(filepath.Join(stage, "usr/lib/systemd/system", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(units, name), socket, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		staged = append(staged, filepath.Join(units, name))
	}
	if out, err := exec.CommandContext(t.Context(), analyze, staged...).CombinedOutput(); err != nil || strings.Contains(string(out), "ichor") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(stage, "etc/ichor/ichor.yaml"))
	if err != nil || !strings.Contains(string(text), "\nstate: /var/lib/ichor\n") {
		t.Errorf("the installed configuration does not name the service's state folder, %v", err)
	}
	out, err := exec.CommandContext(t.Context(), program, "check", "--offline", "--state", t.TempDir(), "--config", filepath.Join(stage, "etc/ichor/ichor.yaml")).CombinedOutput()
	if !strings.Contains(string(out), "reproduces its references") {
		t.Errorf("the installed program does not find its models: %v\n%s", err, out)
	}
}

// TestNotify plays systemd: the node says READY=1 once it listens, and STOPPING=1 on SIGTERM, after which it ends in order.
func TestNotify(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	p := newProcess(t, startPACS(t))
	t.Setenv("NOTIFY_SOCKET", socket)
	p.start()
	expect := func(want string) {
		t.Helper()
		buf := make([]byte, 100)
		if err := systemd.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := systemd.Read(buf)
		if err != nil || string(buf[:n]) != want {
			t.Errorf("told %q, want %q, %v", buf[:n], want, err)
		}
	}
	expect("READY=1")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	expect("STOPPING=1")
	<-p.ended
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}
