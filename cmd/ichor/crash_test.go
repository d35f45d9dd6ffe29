package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ichor/pipeline/state"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/receiver"
	"ichor/scp/scptest"
)

// kills is how often TestKill kills the node; ICHOR_KILLS makes a longer campaign of it.
const kills = 20

// TestKill kills the node (SIGKILL) at random moments while studies arrive and are analysed. The sender goes on with
// what was not acknowledged as soon as the node is back, as routers do. At the end no acknowledged object is lost, and
// the PACS has one set of results for each study.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := kills
	if s := os.Getenv("ICHOR_KILLS"); s != "" {
		if _, err := fmt.Sscan(s, &rounds); err != nil {
			t.Fatalf("ICHOR_KILLS %q: %v", s, err)
		}
	}
	pacs := startPACS(t)
	p := newProcess(t, pacs)
	random := rand.New(rand.NewPCG(1, 2))
	acknowledged := map[string]bool{}
	var studies [][]dicomFile
	var left []dicomFile // of the newest study, not acknowledged yet
	for round := range rounds {
		if len(left) == 0 {
			files := shortStudy(t)
			studies = append(studies, files)
			left = files
		}
		p.start()
		span := 300 // ms: while objects arrive
		if round%2 == 0 {
			span = 4000 // assembly, analysis, delivery
		}
		kill := time.AfterFunc(time.Duration(random.IntN(span))*time.Millisecond, p.kill)
		left = sendAcknowledged(t, p.address, left, acknowledged)
		<-p.ended
		kill.Stop()
		if round%20 == 19 {
			t.Logf("%d kills, %d studies, %d objects acknowledged so far", round+1, len(studies), len(acknowledged))
		}
	}
	p.start()
	if left = sendAcknowledged(t, p.address, left, acknowledged); len(left) > 0 {
		t.Fatalf("the node does not take %d objects after its last restart", len(left))
	}
	if rounds > kills { // a long campaign may hand a study out more often than a job is, each time for too short a while
		if out, err := exec.Command(binary, "retry", "--failed", "--config", p.config).CombinedOutput(); err != nil {
			t.Fatalf("retry --failed: %v\n%s", err, out)
		}
	}
	for _, files := range studies {
		p.wait(state.IDOf(files[0].StudyInstanceUID), len(files))
	}
	p.kill()
	<-p.ended
	checkSpool(t, p.state, acknowledged)
	checkResults(t, pacs, studies)
	t.Logf("%d kills, %d studies, %d objects acknowledged", rounds, len(studies), len(acknowledged))
}

// shortStudy is every second slice of a sample: twice the kills a minute.
func shortStudy(t *testing.T) []dicomFile {
	t.Helper()
	dir, _ := sampleStudy(t, "mixed")
	edit(t, dir, func(i int, _ *dcm.DataSet) bool { return i%2 == 0 })
	files, _, err := findDICOM(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// sendAcknowledged stores files one association each, notes those that the node answered with success, and returns the
// rest when the node is gone.
func sendAcknowledged(t *testing.T, address string, files []dicomFile, acknowledged map[string]bool) []dicomFile {
	t.Helper()
	p := peerFlags{called: "ICHOR", calling: "TEST", timeout: patience}
	for i, f := range files {
		if err := p.send(t.Context(), address, []dicomFile{f}); err != nil {
			if status, ok := errors.AsType[*dimse.StatusError](err); ok {
				t.Errorf("refused: %v", status)
			}
			return files[i:]
		}
		acknowledged[f.SOPInstanceUID] = true
	}
	return nil
}

// checkSpool opens the spool the killed node left: every acknowledged object must be there, whole.
func checkSpool(t *testing.T, stateFolder string, acknowledged map[string]bool) {
	t.Helper()
	if n := missing(t, stateFolder, acknowledged); n > 0 {
		t.Errorf("%d objects were acknowledged and are lost", n)
	}
	if len(acknowledged) == 0 {
		t.Error("nothing was ever acknowledged")
	}
}

// missing counts the acknowledged objects that are not in a spool.
func missing(t *testing.T, stateFolder string, acknowledged map[string]bool) (n int) {
	t.Helper()
	s := openSpool(t, filepath.Join(stateFolder, "spool"))
	kept := map[string]bool{}
	for _, study := range s.Studies() {
		for _, o := range s.Study(study) {
			kept[o.SOPInstanceUID] = true
		}
	}
	for uid := range acknowledged {
		if !kept[uid] {
			n++
		}
	}
	return n
}

// checkResults counts the distinct objects at the PACS: one SEG and one SR a study, and nothing of unknown studies.
func checkResults(t *testing.T, pacs *receiver.Receiver, studies [][]dicomFile) {
	t.Helper()
	held := map[string]map[string]int{} // study -> SOP class -> objects
	for _, o := range pacs.Objects() {
		f, err := readHeader(o.Path)
		if err != nil {
			t.Fatal(err)
		}
		if held[f.StudyInstanceUID] == nil {
			held[f.StudyInstanceUID] = map[string]int{}
		}
		held[f.StudyInstanceUID][f.SOPClassUID]++
	}
	if len(held) != len(studies) {
		t.Errorf("results of %d studies, want %d", len(held), len(studies))
	}
	for i, files := range studies {
		got := held[files[0].StudyInstanceUID]
		if got[dcm.SegmentationStorage] != 1 || got[dcm.Comprehensive3DSRStorage] != 1 || got[dcm.SecondaryCaptureImageStorage] == 0 {
			t.Errorf("study %d: %d SEG, %d SC, %d SR", i, got[dcm.SegmentationStorage], got[dcm.SecondaryCaptureImageStorage], got[dcm.Comprehensive3DSRStorage])
		}
	}
}

// process is the node as a process of its own that can be killed.
type process struct {
	pacs    *receiver.Receiver
	t       *testing.T
	state   string
	config  string
	address string
	http    string
	make    func() *exec.Cmd // nil: serve with config
	cmd     *exec.Cmd
	ended   chan struct{}
	log     *scptest.Log
}

func newProcess(t *testing.T, pacs *receiver.Receiver) *process {
	t.Helper()
	p := &process{t: t, pacs: pacs, state: t.TempDir(), address: freeAddress(t), http: freeAddress(t), config: filepath.Join(t.TempDir(), "ichor.yaml")}
	text := fmt.Sprintf("state: %s\ncanary: {start: false}\ndicom: {listen: %q, reserve_mib: 16, prepared_mib: 64}\nhttp: {listen: %q}\nassembly: {quiet_period: 1500ms}\n"+
		"analysis: {bundle: %s, library: %s}\ndelivery: {first_retry: 50ms, max_retry: 500ms}\n"+
		"destinations: [{name: pacs, address: %q, ae_title: PACS}]\n",
		p.state, p.address, p.http, shippedBundle(t), library(t), pacs.Address())
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd != nil {
			p.kill()
			<-p.ended
		}
		if t.Failed() && p.log != nil {
			t.Logf("the node's last words:\n%s", p.log)
		}
	})
	return p
}

// freeAddress is an address of this machine that nobody uses: not 127.0.0.1, where the connection of another program could
// take the port while the node is dead.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs the node and returns when it says that it is ready.
func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.CommandContext(context.Background(), binary, "serve", "--config", p.config)
	if p.make != nil {
		p.cmd = p.make()
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.ended, p.log = make(chan struct{}), &scptest.Log{}
	ready := make(chan bool, 1)
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(io.TeeReader(stderr, p.log))
		for lines.Scan() {
			if strings.Contains(lines.Text(), "msg=ready") {
				ready <- true
			}
		}
		_ = p.cmd.Wait() // killed: that is the test
		ready <- false
	}()
	select {
	case ok := <-ready:
		if !ok {
			p.t.Fatalf("the node does not start:\n%s", p.log)
		}
	case <-time.After(patience):
		p.t.Fatalf("the node is not ready within %v", patience)
	}
}

func (p *process) kill() { _ = p.cmd.Process.Signal(syscall.SIGKILL) } // gone already: also dead

// wait asks the node until a case of so many objects is finished and delivered. Others may be before it: the node has
// time for as long as something arrives at the PACS.
func (p *process) wait(id state.CaseID, objects int) {
	p.t.Helper()
	deadline, arrived := time.Now().Add(patience), 0
	var last string
	for time.Now().Before(deadline) {
		if n := len(p.pacs.Objects()); n > arrived {
			deadline, arrived = time.Now().Add(patience), n
		}
		out, err := exec.Command(binary, "status", string(id), "--config", p.config).CombinedOutput()
		last = string(out)
		if err == nil && strings.Contains(last, fmt.Sprintf("%d objects", objects)) && strings.Contains(last, ": analyzed") &&
			strings.Contains(last, "pacs: stored") && !strings.Contains(last, "pacs: pending") {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	p.t.Fatalf("case %s is not finished:\n%s", id, last)
}
