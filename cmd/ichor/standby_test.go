package main

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ichor/cmd/ichor/doctor"
	"ichor/config"
	"ichor/scp/dimse"
	"ichor/scp/scptest"
)

// TestStandBy starts a node on a disk that cannot be written. It says why and refuses objects with A700H, and it receives
// when the disk is well again, without a restart.
func TestStandBy(t *testing.T) {
	t.Parallel()
	for name, disk := range map[string]func(t *testing.T, c config.Config) (heal func() error){
		"full":      fullDisk,
		"read-only": readOnlyDisk,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, pacs := testConfig(t), startPACS(t)
			c.Destinations = toPACS(t, pacs).Destinations
			heal := disk(t, c)
			var log scptest.Log
			n := startLogging(t, c, slog.New(slog.NewTextHandler(&log, nil)))
			page := func(path string) (int, string) {
				answer, err := http.Get("http://" + n.HTTPAddr() + path)
				if err != nil {
					t.Fatal(err)
				}
				defer answer.Body.Close()
				text, err := io.ReadAll(answer.Body)
				if err != nil {
					t.Fatal(err)
				}
				return answer.StatusCode, string(text)
			}
			ready := func() (int, string) { return page("/readyz") }
			cause := map[string]string{"full": "no space left on device", "read-only": "read-only file system"}[name]
			if code, text := ready(); code != http.StatusServiceUnavailable || !strings.Contains(text, cause) || !strings.Contains(text, "state.db") {
				t.Errorf("/readyz: %d %s", code, text)
			}
			if !strings.Contains(log.String(), "A700H") || !strings.Contains(log.String(), cause) {
				t.Errorf("the log does not say %q:\n%s", cause, log.String())
			}
			if code, out, errs := command(t, "status", "--http", n.HTTPAddr()); code != 1 || !strings.Contains(errs, cause) || !strings.Contains(out, "critical  disk: the state folder is not open") {
				t.Errorf("status: exit code %d, %s%s", code, out, errs)
			}
			for path, want := range map[string]string{"/": "<strong>disk</strong>: the state folder is not open", "/readyz": "critical disk: the state folder", "/api/v1/cases": cause} {
				if code, text := page(path); code != http.StatusServiceUnavailable || !strings.Contains(text, want) || !strings.Contains(text, cause) {
					t.Errorf("%s: %d %.2000s", path, code, text)
				}
			}
			code, text := page("/metrics")
			for _, line := range []string{"ichor_ready 0", `ichor_alarm{name="disk",severity="critical",subject=""} 1`, "ichor_build_info{"} {
				if code != http.StatusOK || !strings.Contains(text, "\n"+line) {
					t.Errorf("/metrics: %d, no %s in\n%s", code, line, text)
				}
			}
			beside := c
			beside.HTTP.Listen = n.HTTPAddr()
			if lines := doctor.Examine(t.Context(), examination(t.Context(), beside, true)); !slices.ContainsFunc(lines, func(l doctor.Line) bool {
				return l.What == "disk" && l.Grade == doctor.Failed && strings.Contains(l.Detail, cause)
			}) {
				t.Errorf("the doctor: %+v", lines)
			}
			if code, _, errs := command(t, "echo", n.Addr(), "--called", "ICHOR"); code != 0 {
				t.Errorf("C-ECHO: %s", errs)
			}
			dir, _ := sampleStudy(t, "normal")
			files, _, err := findDICOM(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			p := peerFlags{called: "ICHOR", calling: "TEST", timeout: patience}
			status, ok := errors.AsType[*dimse.StatusError](p.send(t.Context(), n.Addr(), files[:1]))
			if !ok || status.Status != dimse.OutOfResources {
				t.Errorf("C-STORE: %v", status)
			}

			if err := heal(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "ready", func() bool { code, _ := ready(); return code == http.StatusOK })
			if code, text := page("/"); code != http.StatusOK || strings.Contains(text, "state folder") {
				t.Errorf("the dashboard after it: %d %.2000s", code, text)
			}
			send(t, n.Addr(), dir)
			if err := pacs.Wait(within(t), 2); err != nil {
				t.Error(err)
			}
		})
	}
}

// fullDisk lets the state file be written to a device that is always full.
func fullDisk(t *testing.T, c config.Config) func() error {
	path := filepath.Join(c.State, "state.db")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	return func() error { return os.Remove(path) }
}

// readOnlyDisk mounts a disk of its own, with the state of an earlier run.
func readOnlyDisk(t *testing.T, c config.Config) func() error {
	if err := syscall.Mount("tmpfs", c.State, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("a disk cannot be mounted (%v): run as root", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(c.State, 0); err != nil {
			t.Error(err)
		}
	})
	t.Run("earlier run", func(t *testing.T) { startNode(t, c) })
	mount := func(flags uintptr) error { return syscall.Mount("", c.State, "", syscall.MS_REMOUNT|flags, "") }
	if err := mount(syscall.MS_RDONLY); err != nil {
		t.Fatal(err)
	}
	return func() error { return mount(0) }
}
