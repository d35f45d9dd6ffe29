package scptest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Orthanc is a running Orthanc server.
type Orthanc struct {
	t           testing.TB
	DICOM, HTTP string // addresses, host:port
}

// StartOrthanc runs Orthanc, AE title ORTHANC, until the test ends. If Orthanc is not installed, it skips the test. Orthanc
// listens on all interfaces but accepts requests only from this machine. settings are added to its configuration.
func StartOrthanc(t testing.TB, settings map[string]any) *Orthanc {
	t.Helper()
	const program = "/usr/sbin/Orthanc"
	if _, err := os.Stat(program); err != nil {
		t.Skip("Orthanc not found: install the Debian package orthanc")
	}
	dir := t.TempDir()
	a, b := freePort(t), freePort(t)
	a.Close()
	b.Close()
	all := map[string]any{
		"DicomAet": "ORTHANC", "DicomPort": a.Addr().(*net.TCPAddr).Port, "HttpPort": b.Addr().(*net.TCPAddr).Port, "Plugins": []string{},
		"StorageDirectory": filepath.Join(dir, "storage"), "IndexDirectory": filepath.Join(dir, "index"),
		"RemoteAccessAllowed": false, "AuthenticationEnabled": false,
	}
	maps.Copy(all, settings)
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "orthanc.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command(program, file)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Orthanc said:\n%s", log.String())
		}
	})
	o := &Orthanc{t, a.Addr().String(), b.Addr().String()}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		answer, err := http.Get("http://" + o.HTTP + "/system")
		if err == nil {
			answer.Body.Close()
			return o
		}
		if time.Now().After(deadline) {
			t.Fatalf("Orthanc does not answer: %v", err)
		}
	}
}

func freePort(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// Get sends a GET request to the REST interface.
func (o *Orthanc) Get(path string) []byte { return o.ask(path, nil) }

// JSON sends a GET request to the REST interface, or a POST if body is not nil, and decodes the answer.
func (o *Orthanc) JSON(path string, body, into any) {
	o.t.Helper()
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			o.t.Fatal(err)
		}
	}
	if err := json.Unmarshal(o.ask(path, raw), into); err != nil {
		o.t.Fatalf("Orthanc %s: %v", path, err)
	}
}

func (o *Orthanc) ask(path string, body []byte) []byte {
	o.t.Helper()
	var answer *http.Response
	var err error
	if body == nil {
		answer, err = http.Get("http://" + o.HTTP + path)
	} else {
		answer, err = http.Post("http://"+o.HTTP+path, "application/json", bytes.NewReader(body))
	}
	if err != nil {
		o.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		o.t.Fatalf("Orthanc %s: %s %s %v", path, answer.Status, text, err)
	}
	return text
}
