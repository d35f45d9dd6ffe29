package main

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ichor/scp/spool"
)

func openSpool(t *testing.T, dir string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(t.Context(), spool.Options{Dir: dir, MaxObjectBytes: 1 << 30, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestWrongUse runs the program as a user would get it wrong: one clear line on standard error, exit code 2 for wrong
// usage or configuration and 1 for what cannot be done.
func TestWrongUse(t *testing.T) {
	t.Parallel()
	lib := library(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	unknown := file("unknown.yaml", "dicom:\n  lisen: x\n")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	notFolder := file("state", "a file where the state folder should be")
	damaged := copyBundle(t)
	if err := os.WriteFile(filepath.Join(damaged, "bleed.onnx"), []byte("not a network"), 0o644); err != nil {
		t.Fatal(err)
	}
	misnamed := copyBundle(t) // input and output of the file have other names: two errors, joined
	manifest, err := os.ReadFile(filepath.Join(misnamed, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	other := regexp.MustCompile(`("(?:input|output)": \{\s*"name": )"[^"]*"`).ReplaceAll(manifest, []byte(`$1"other"`))
	if err := os.WriteFile(filepath.Join(misnamed, "manifest.json"), other, 0o644); err != nil {
		t.Fatal(err)
	}
	bundle := []string{"--bundle", shippedBundle(t), "--library", lib}
	serve := append([]string{"serve", "--state", filepath.Join(dir, "s"), "--http", "127.0.0.1:0", "--log-level", "error"}, bundle...)

	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no command", nil, 2, "name a command"},
		{"unknown command", []string{"srve"}, 2, "srve"},
		{"unknown flag", []string{"serve", "--prot", "1"}, 2, "--prot"},
		{"analyze without out", []string{"analyze", dir}, 2, "--out"},
		{"analyze without folder", []string{"analyze", "--out", dir}, 2, "write 'ichor analyze DIR --out DIR'; see 'ichor analyze --help'"},
		{"too many arguments", []string{"echo", "a:1", "b:1"}, 2, "write 'ichor echo HOST:PORT'"},
		{"unknown flag names its command's help", []string{"models", "verify", "--prot"}, 2, "see 'ichor models verify --help'"},
		{"title too long", []string{"echo", "127.0.0.1:1", "--called", "SEVENTEEN LETTERS"}, 2, "1 to 16"},
		{"no patience", []string{"echo", "127.0.0.1:1", "--timeout", "0s"}, 2, "--timeout"},
		{"no cases asked for", []string{"status", "--limit", "0"}, 2, "--limit"},
		{"a time without unit", []string{"echo", "127.0.0.1:1", "--timeout", "5"}, 2, "for \"--timeout\" flag: write a time with its unit"},
		{"a number that is none", []string{"status", "--limit", "x"}, 2, "for \"--limit\" flag: write a whole number; see"},
		{"events below none", []string{"events", "--limit", "-3"}, 2, "write 0 or more"},
		{"no such folder", append([]string{"analyze", filepath.Join(dir, "none"), "--out", filepath.Join(dir, "out")}, bundle...), 1, "name the folder that holds the study"},
		{"age of nobody", []string{"check", "--offline", "--config", file("age.yaml", "analysis: {min_age: 180}\n")}, 2, "analysis.min_age 180: must be at most 120"},
		{"check as nobody known", []string{"check", "--offline", "--user", "nosuchuser"}, 2, "--user"},
		{"echo without port", []string{"echo", "localhost"}, 2, "host:port"},
		{"no configuration file", []string{"serve", "--config", filepath.Join(dir, "none.yaml")}, exitConfig, "none.yaml"},
		{"unknown key", []string{"serve", "--config", unknown}, exitConfig, "lisen"},
		{"missing model", []string{"models", "verify", "--bundle", filepath.Join(dir, "none"), "--library", lib}, 1, "manifest.json"},
		{"wrong digest", []string{"models", "verify", "--bundle", damaged, "--library", lib}, 1, "sha256"},
		{"wrong tensor names", []string{"models", "verify", "--bundle", misnamed, "--library", lib}, 1, "output.name"},
		{"missing library", []string{"models", "verify", "--bundle", shippedBundle(t), "--library", filepath.Join(dir, "none.so")}, 1, "none.so"},
		{"provider the library lacks", append([]string{"models", "verify", "--provider", "cuda"}, bundle...), 1, "cuda"},
		{"port taken", append(serve, "--listen", taken.Addr().String()), 1, "already in use"},
		{"state folder not writable", append([]string{"serve", "--log-level", "error", "--state", filepath.Join(notFolder, "x")}, bundle...), 1, "state"},
		{"unknown sample", []string{"sample", "--out", dir, "--study", "nobody"}, 1, "nobody"},
		{"no DICOM there", append([]string{"analyze", dir, "--out", filepath.Join(dir, "out")}, bundle...), 1, "no DICOM file"},
		{"results into the study", append([]string{"analyze", dir, "--out", dir + "/."}, bundle...), 2, "choose another folder"},
		{"results of all into the studies", append([]string{"analyze", "--all", dir, "--out", dir}, bundle...), 2, "choose another folder"},
		{"a flag that is no number", []string{"analyze", dir, "--out", filepath.Join(dir, "out"), "--min-slices", "abc"}, 2, "--min-slices \"abc\": write a whole number"},
		{"nobody listens", []string{"echo", "127.0.0.1:1"}, 1, "check that a node is running there"},
		{"no node to ask", []string{"status", "--http", "127.0.0.1:1"}, 1, "is 'ichor serve' running"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, _, stderr := command(t, c.args...)
			if code != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("exit code %d, want %d, and %q in:\n%s", code, c.code, c.says, stderr)
			}
			if n := strings.Count(strings.TrimSpace(stderr), "\n"); n > 0 {
				t.Errorf("%d lines instead of one:\n%s", n+1, stderr)
			}
		})
	}
}

// TestRejected calls a running node with the wrong titles.
func TestRejected(t *testing.T) {
	n := startNode(t, testConfig(t))
	address := n.Addr()
	if code, _, stderr := command(t, "echo", address); code != 0 {
		t.Errorf("echo: %s", stderr)
	}
	if code, _, stderr := command(t, "echo", address, "--called", "NOBODY"); code != 1 || !strings.Contains(stderr, "called AE title not recognized") {
		t.Errorf("wrong called title: code %d, %s", code, stderr)
	}
	code, _, stderr := command(t, "status", "0123456789abcdef", "--http", n.HTTPAddr())
	if code != 1 || !strings.Contains(stderr, "no such case") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("unknown case: code %d, %q", code, stderr)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"serve", "demo", "analyze", "select", "sample", "send", "echo", "status", "check", "models", "models list", "models verify", "spool", "spool list", "spool export", "canary", "events", "events verify", "dead-letters", "replay"} {
		code, stdout, _ := command(t, append(strings.Fields(name), "--help")...)
		if code != 0 || !strings.Contains(stdout, "Examples:") {
			t.Errorf("%s --help: code %d, no example in:\n%s", name, code, stdout)
		}
	}
}

func copyBundle(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	if err := os.CopyFS(dir, os.DirFS(shippedBundle(t))); err != nil {
		t.Fatal(err)
	}
	return dir
}
