package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
	staged := []string{"verify", "--man=no", filepath.Join(units, "ichor.service")}
	if err := os.WriteFile(staged[2], []byte(strings.ReplaceAll(string(unit), "/usr/local/bin/ichor", program)), 0o644); err != nil {
		t.Fatal(err)
	}
	security, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=12", staged[2]).CombinedOutput()
	if err != nil {
		t.Errorf("the exposure of the unit is more than 1.2: %v\n%s", err, security)
	}
	for _, want := range []string{"RestartPreventExitStatus=78\n", "WatchdogSec=", "ExecReload=kill -HUP", "LimitCORE=0\n", "Restart=on-failure\n"} {
		if !strings.Contains(string(unit), "\n"+want) {
			t.Errorf("the unit has no %q", want)
		}
	}
	for _, page := range []string{"man/man1/ichor.1", "man/man5/ichor.yaml.5", "bash-completion/completions/ichor", "doc/ichor/install.md"} {
		if !isFile(filepath.Join(stage, "usr/local/share", page)) {
			t.Errorf("%s is not installed", page)
		}
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
	gpu, err := os.ReadFile(filepath.Join(stage, "usr/local/share/doc/ichor/ichor-gpu.conf"))
	if err == nil {
		err = errors.Join(os.Mkdir(staged[2]+".d", 0o755), os.WriteFile(filepath.Join(staged[2]+".d", "gpu.conf"), gpu, 0o644))
	}
	if err != nil {
		t.Fatal(err)
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
