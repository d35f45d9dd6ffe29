package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
	"ichor/scp/receiver"
)

// patience is how long a test waits for what must come. It costs nothing while all is well, and a machine with much else
// to do needs it.
const patience = 5 * time.Minute

// precision is the same on every machine, with or without VNNI.
const precision = "float32"

// binary is the program as a user runs it, built once for the tests that need a process of its own.
var binary string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (int, error) {
	if os.Getenv("ICHOR_TEST_MEMBER") != "" || os.Getenv("ICHOR_TEST_NATS") != "" { // a process of a fleet
		return m.Run(), nil
	}
	os.Setenv("ICHOR_ANALYSIS_PRECISION", precision)           // for programs that tests start
	if binary = os.Getenv("ICHOR_TEST_BINARY"); binary != "" { // built before, for many runs
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "ichor-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "ichor")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// library is the ONNX Runtime that 'make build' fetched.
func library(t testing.TB) string {
	t.Helper()
	path := os.Getenv("ICHOR_ONNXRUNTIME")
	if path == "" {
		path = absolute(t, "../../bin/lib/libonnxruntime.so.1.24.4")
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("ONNX Runtime is not there (%v); run 'make build'", err)
	}
	return path
}

func shippedBundle(t testing.TB) string { return absolute(t, "../../models/bundles/ichor-synthetic") }

func absolute(t testing.TB, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// peer skips a test that needs a program of a Debian package where it is missing. CI installs them all.
func peer(t *testing.T, program, debianPackage string) string {
	t.Helper()
	for _, dir := range []string{"/usr/bin", "/usr/sbin"} { // not $PATH: pynetdicom brings programs of the same names
		if path := filepath.Join(dir, program); isFile(path) {
			return path
		}
	}
	t.Skipf("%s is missing: install the Debian package %s", program, debianPackage)
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// python is an interpreter with pydicom and highdicom.
func python(t *testing.T) string {
	t.Helper()
	path := os.Getenv("ICHOR_PYTHON")
	if path == "" {
		t.Skip("ICHOR_PYTHON is not set: run 'make test-go', which makes the Python environment")
	}
	return path
}

// testConfig is a node on loopback with state in a folder of the test.
func testConfig(t testing.TB) config.Config {
	c := config.Default()
	c.State = t.TempDir()
	c.DICOM.Listen, c.HTTP.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.DICOM.ReserveMiB, c.DICOM.PreparedMiB = 16, 0
	c.Canary.Start, c.Canary.At = false, ""
	c.Assembly.QuietPeriod = 300 * time.Millisecond
	c.Delivery.FirstRetry, c.Delivery.MaxRetry = 50*time.Millisecond, 200*time.Millisecond
	c.Analysis.Bundle, c.Analysis.Library, c.Analysis.Precision = shippedBundle(t), library(t), precision
	return c
}

// startNode runs the whole appliance until the test ends, and checks that it stops in order.
func startNode(t testing.TB, c config.Config) *node.Node {
	t.Helper()
	return startLogging(t, c, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

func startLogging(t testing.TB, c config.Config, log *slog.Logger) *node.Node {
	t.Helper()
	n, err := node.New(t.Context(), node.Options{Config: c, Version: version, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(n.Run(ctx), n.Close()) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("node ended with: %v", err)
			}
		case <-time.After(patience):
			t.Error("node does not stop")
		}
	})
	return n
}

func startPACS(t testing.TB) *receiver.Receiver {
	t.Helper()
	r, err := receiver.Start(receiver.Options{AETitle: "PACS", Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// sampleStudy writes a shipped sample with fresh UIDs.
func sampleStudy(t testing.TB, name string) (dir string, study *synthetic.Study) {
	t.Helper()
	study, err := phantom.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), name)
	if err := study.Write(dir, synthetic.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return dir, study
}

// send stores a folder by our own SCU.
func send(t testing.TB, address, dir string) []dicomFile {
	t.Helper()
	files, _, err := findDICOM(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	p := peerFlags{called: "ICHOR", calling: "TEST", timeout: patience}
	if err := p.send(t.Context(), address, files); err != nil {
		t.Fatal(err)
	}
	return files
}

// command runs the built program to its end.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
	if err := cmd.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatal(err)
		}
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}
