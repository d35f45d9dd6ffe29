package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"ichor/pipeline/state"
	"ichor/scp/dcm"
)

// TestBackup takes a backup of a node while a study arrives, and restores it on an empty folder while the PACS is back: the
// restored node has the case, its results and its objects, and delivers what was not delivered.
func TestBackup(t *testing.T) {
	pacs := startPACS(t)
	settings := toPACS(t, pacs)
	settings.Destinations[0].Address = freeAddress(t) // nobody listens: everything waits
	n := startNode(t, settings)
	dir, _ := sampleStudy(t, "mixed")
	files := send(t, n.Addr(), dir)
	id := state.IDOf(files[0].StudyInstanceUID)
	waitFor(t, func() bool { c, err := n.State().Case(id); return err == nil && c.Phase == state.Analyzed })
	second, _ := sampleStudy(t, "normal")
	late, _, err := findDICOM(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	arriving := make(chan error, 1)
	go func() {
		p := peerFlags{called: "ICHOR", calling: "TEST", timeout: patience}
		arriving <- p.send(t.Context(), n.Addr(), late)
	}()
	// The state folder can be a disk of its own.
	bare := filepath.Join(t.TempDir(), "state")
	for _, state := range []string{settings.State, bare} {
		if err := os.MkdirAll(filepath.Join(state, "lost+found"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(settings.State, "lost+found", "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { _, err := os.Stat(filepath.Join(settings.State, "running")); return err == nil })
	file := filepath.Join(t.TempDir(), "backup.tar")
	if text := ok(t, "backup", file, "--http", n.HTTPAddr()); !strings.Contains(text, "verified") {
		t.Errorf("backup: %s", text)
	}
	if err := <-arriving; err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the backup: %v, %v", info.Mode(), err)
	}
	if code, _, stderr := command(t, "backup", file, "--http", n.HTTPAddr()); code != exitFailed || !strings.Contains(stderr, "exists") {
		t.Errorf("a backup is overwritten: %s", stderr)
	}
	if text := ok(t, "restore", file, "--state", bare); !strings.Contains(text, "start the node") {
		t.Errorf("restore: %s", text)
	}
	if code, _, stderr := command(t, "restore", file, "--state", bare); code != exitFailed || !strings.Contains(stderr, "is not empty") {
		t.Errorf("a state folder is overwritten: %s", stderr)
	}
	for _, name := range []string{"running", filepath.Join("lost+found", "x")} { // the restored node has not crashed
		if _, err := os.Stat(filepath.Join(bare, name)); err == nil {
			t.Errorf("%s is restored", name)
		}
	}
	restored := toPACS(t, pacs)
	restored.State = bare
	m := startNode(t, restored)
	c, err := delivered(within(t), m.State(), id, func() {})
	if err != nil {
		t.Fatal(err)
	}
	before, err := n.State().Case(id)
	if err != nil || c.Finding == nil || c.Finding.Volumes.Total != before.Finding.Volumes.Total || c.Objects != len(files) {
		t.Errorf("the restored case is %+v, %v", c, err)
	}
	if kinds := countKinds(pacs.Objects()); len(kinds) != 4 {
		t.Errorf("the PACS got %v", kinds)
	}
	damage(t, file)
}

// damage tries backups that are cut off or changed: nothing of them is restored.
func damage(t *testing.T, file string) {
	t.Helper()
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)/2] ^= 1
	for name, text := range map[string][]byte{"cut off": whole[:len(whole)/2], "changed": flipped, "empty": nil} {
		bad, to := filepath.Join(t.TempDir(), "bad.tar"), filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(bad, text, 0o600); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := command(t, "restore", bad, "--state", to)
		left, err := os.ReadDir(to)
		if code != exitFailed || err != nil || len(left) > 0 {
			t.Errorf("%s: code %d, %d files restored, %v, %s", name, code, len(left), err, stderr)
		}
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within patience")
		}
	}
}

// TestSupport: the bundle for support names the parts that help, and has no attribute of a patient, no UID of a study and no
// secret of the configuration.
func TestSupport(t *testing.T) {
	pacs := startPACS(t)
	settings := toPACS(t, pacs)
	settings.HTTP.Token = "SECRETTOKEN-0123456789"
	n := startNode(t, settings)
	dir, _ := sampleStudy(t, "normal")
	edit(t, dir, func(_ int, d *dcm.DataSet) bool {
		d.Put(dcm.Element{Tag: dcm.PatientName, VR: "PN", Value: []string{"MARKEDNAME^X"}})
		d.Put(dcm.Element{Tag: dcm.PatientID, VR: "LO", Value: []string{"MARKEDID"}})
		return true
	})
	files := send(t, n.Addr(), dir)
	if _, err := delivered(within(t), n.State(), state.IDOf(files[0].StudyInstanceUID), func() {}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "support.tar.gz")
	config := filepath.Join(t.TempDir(), "ichor.yaml")
	text := fmt.Sprintf("state: %s\nhttp: {listen: %q, token: %s}\ndestinations: [{name: pacs, address: 'h:1', ae_title: P, username: u, passcode: SECRETCODE}]\n"+
		"analysis: {bundle: %s, library: %s}\n", settings.State, n.HTTPAddr(), settings.HTTP.Token, shippedBundle(t), library(t))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ok(t, "support", file, "--config", config)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for archive := tar.NewReader(zip); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		text, err2 := io.ReadAll(archive)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		parts[strings.TrimPrefix(h.Name, "ichor-support/")] = string(text)
		for _, mark := range []string{"MARKED", "SECRET", files[0].StudyInstanceUID, files[0].SOPInstanceUID} {
			if strings.Contains(string(text), mark) {
				t.Errorf("%s has %s", h.Name, mark)
			}
		}
	}
	for name, want := range map[string]string{"about.txt": "ichor " + version, "check.json": "state folder", "configuration.json": "(hidden)", "sizes.txt": "spool/",
		"ready.txt": "ready", "metrics.txt": "ichor_spool_bytes", "unit.txt": "", "log.txt": ""} {
		if text, there := parts[name]; !there || !strings.Contains(text, want) {
			t.Errorf("%s has no %q: %.300s", name, want, text)
		}
	}
}

// TestDemoKeep: the demo leaves node, PACS and dashboard running, says where to look, and ends in order on Ctrl-C.
func TestDemoKeep(t *testing.T) {
	cmd := exec.CommandContext(context.Background(), binary, "demo", "--keep", "--study", "normal", "--out", t.TempDir(), "--bundle", shippedBundle(t), "--library", library(t), "--config", os.DevNull)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	dashboard, sendLine := "", ""
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := regexp.MustCompile(`^dashboard +(http://\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			dashboard = m[1]
		}
		if strings.HasPrefix(lines.Text(), "more") {
			sendLine = lines.Text()
			break
		}
	}
	if dashboard == "" || !strings.Contains(sendLine, "ichor send 127.0.0.1:") {
		t.Fatalf("the demo does not say where to look: %q, %q", dashboard, sendLine)
	}
	r, err := http.Get(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || !strings.Contains(string(page), "analyzed") {
		t.Errorf("the dashboard does not show the case: %v", err)
	}
	address := regexp.MustCompile(`ichor send (\S+)`).FindStringSubmatch(sendLine)[1]
	if code, _, stderr := command(t, "echo", address); code != 0 {
		t.Errorf("the node does not answer: %s", stderr)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the demo ends with %v", err)
	}
}
