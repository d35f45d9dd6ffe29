package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestExitCodes: a refused configuration ends with 78, the only code after which systemd does not restart the service. A
// crash ends by a signal, which no exit code of ours can be mistaken for, and the process allows no core file.
func TestExitCodes(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "ichor.yaml")
	if err := os.WriteFile(bad, []byte("dicom: {lissten: 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secured := filepath.Join(t.TempDir(), "tls.yaml")
	if err := os.WriteFile(secured, []byte("dicom: {tls: {certificate: /none.pem, key: /none.key}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token.yaml")
	if err := os.WriteFile(token, []byte("http: {token_file: /none.token}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
	}{
		{"unknown key", []string{"serve", "--config", bad}, exitConfig},
		{"no such file", []string{"serve", "--config", bad + ".not"}, exitConfig},
		{"no certificate", []string{"serve", "--config", secured, "--log-level", "error", "--state", t.TempDir()}, exitConfig},
		{"no token file", []string{"serve", "--config", token, "--log-level", "error", "--state", t.TempDir()}, exitConfig},
		{"socket that systemd did not pass", []string{"serve", "--config", os.DevNull, "--state", t.TempDir(), "--listen", "systemd"}, exitConfig},
		{"wrong flag", []string{"serve", "--nothing"}, exitUsage},
		{"unwritable state", []string{"serve", "--config", os.DevNull, "--state", "/proc/1/ichor"}, exitFailed},
		{"the same file for another command", []string{"check", "--config", bad}, exitUsage},
	} {
		if code, _, stderr := command(t, c.args...); code != c.code || strings.Count(stderr, "ichor: ") != 1 {
			t.Errorf("%s: code %d, want %d: %s", c.name, code, c.code, stderr)
		}
	}
	p := newProcess(t, startPACS(t))
	p.start()
	limits, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "limits"))
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0 bytes") {
		t.Errorf("core files are allowed, %v:\n%s", err, limits)
	}
	if err := p.cmd.Process.Signal(syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.Signal() != syscall.SIGABRT || status.CoreDump() {
		t.Errorf("after SIGSEGV the node ended with %v", p.cmd.ProcessState)
	}
}
