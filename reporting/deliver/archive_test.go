package deliver

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/reporting/deliver/stow"
	"ichor/scp"
	"ichor/scp/commitment"
	"ichor/scp/dimse"
	"ichor/scp/scptest"
	"ichor/scp/spool"
)

// site is our side of a conversation with a real archive: the deliverer, and the node that hears its reports.
type site struct {
	t       *testing.T
	store   *state.Store
	spool   *spool.Spool
	d       *Deliverer
	address string // of the node
	dir     string
}

type deaf struct{}

func (deaf) Opened(uint64)                       {}
func (deaf) Refused(uint64)                      {}
func (deaf) Received(uint64, spool.Object, bool) {}
func (deaf) Closed(uint64)                       {}

// newSite listens for the peer; start makes the deliverer work.
func newSite(t *testing.T, peer string, listener net.Listener) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), address: listener.Addr().String()}
	var err error
	if s.store, err = state.Open(filepath.Join(s.dir, "state.db")); err != nil {
		t.Fatal(err)
	}
	if s.spool, err = spool.Open(t.Context(), spool.Options{Dir: filepath.Join(s.dir, "spool"), ReserveBytes: -1}); err != nil {
		t.Fatal(err)
	}
	e := scp.NewCallback(scp.CallbackOptions{Spool: s.spool, Promises: s.store, Retry: 50 * time.Millisecond,
		Result: func(r commitment.Result) (bool, error) { return s.d.Result(r) },
		Address: func(string) (dimse.ConnectOptions, bool) {
			return dimse.ConnectOptions{Address: peer, CallingAE: "ICHOR", CalledAE: "ORTHANC"}, true
		}})
	server, err := scp.New(scp.Options{AETitle: "ICHOR", AnyPeer: true, Peers: []scp.Peer{{AETitle: "ORTHANC", Listens: true}},
		Spool: s.spool, Sink: deaf{}, Commitments: e, DrainTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s.run(func(ctx context.Context) error { return server.Serve(ctx, listener) })
	s.run(e.Run)
	t.Cleanup(func() {
		s.spool.Close()
		s.store.Close()
	})
	return s
}

// run lets something work until the test ends, before what is closed by cleanups registered earlier.
func (s *site) run(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		if err := f(ctx); err != nil {
			s.t.Error(err)
		}
		close(ended)
	}()
	s.t.Cleanup(func() { cancel(); <-ended })
}

// deliver sends n results to a destination and waits until all are in a state.
func (s *site) deliver(dest Destination, n int, want state.DeliveryState) {
	s.t.Helper()
	var list []state.Delivery
	for i := range n {
		d, _ := result(s.t, s.dir, dest.Name, i)
		d.Commitment = dest.Commitment
		list = append(list, d)
	}
	c, err := s.store.Queue("1.2.3", 1, "quiet 5s", time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.store.Finish(c.ID, 1, state.Conclusion{Finding: finding.Finding{Status: finding.Analyzed}, Deliveries: list}, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	s.d = New(Options{Destinations: []Destination{dest}, State: s.store, FirstRetry: 50 * time.Millisecond, MaxRetry: 200 * time.Millisecond,
		Dial: func(ctx context.Context, d Destination, o dimse.ConnectOptions) (Peer, error) {
			if d.URL != "" {
				return stow.New(stow.Options{URL: d.URL})
			}
			return dimse.Connect(ctx, o)
		}})
	s.run(s.d.Run)
	s.within("all "+string(want), func() bool {
		counts, err := s.store.Counts()
		return err == nil && counts.Deliveries[dest.Name][want] == n
	})
}

func (s *site) within(what string, so func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			all, _ := s.store.Deliveries(state.IDOf("1.2.3"))
			s.t.Fatalf("not so within a minute: %s\n%+v\n%+v", what, all, s.d.Status())
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// TestPynetdicomCommits is pynetdicom as SCP of Storage Commitment. It loses an object first, which is sent again.
func TestPynetdicomCommits(t *testing.T) {
	py := os.Getenv("ICHOR_PYTHON")
	if py == "" {
		t.Skip("ICHOR_PYTHON is not set: make test-go sets it to a Python with pynetdicom")
	}
	for _, mode := range []string{"same", "later"} {
		t.Run(mode, func(t *testing.T) {
			ln := listen(t)
			s := newSite(t, "", ln)
			cmd := exec.Command(py, "testdata/commit.py", mode, strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			cmd.Stderr = &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			port, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			wait := 10 * time.Second // ends with the report
			if mode == "later" {
				wait = time.Millisecond
			}
			s.deliver(Destination{Name: "PACS", Address: "127.0.0.1:" + strings.TrimSpace(port), CalledAE: "PACS", CallingAE: "ICHOR",
				Commitment: true, ReportWait: wait}, 4, state.Committed)
			all, err := s.store.Deliveries(state.IDOf("1.2.3"))
			resent := 0
			for _, d := range all {
				resent += d.Resent
			}
			if err != nil || resent != 1 {
				t.Errorf("%d objects were sent again, error %v", resent, err)
			}
			stdin.Close()
			if err := cmd.Wait(); err != nil || strings.Count(log.String(), "reported 0000") != 2 {
				t.Errorf("%v\n%s", err, log.String())
			}
		})
	}
}

// orthanc runs Orthanc, which knows a node of ours, until the test ends.
func orthanc(t *testing.T, ours int, plugins ...string) *scptest.Orthanc {
	return scptest.StartOrthanc(t, map[string]any{
		"Plugins":         append([]string{}, plugins...),
		"DicomModalities": map[string]any{"ichor": map[string]any{"AET": "ICHOR", "Host": "127.0.0.1", "Port": ours, "AllowStorageCommitment": true}},
	})
}

// TestOrthanc has Orthanc commit to what it got from us, and asks us to commit to what we got from it.
func TestOrthanc(t *testing.T) {
	ln := listen(t)
	archive := orthanc(t, ln.Addr().(*net.TCPAddr).Port)
	s := newSite(t, archive.DICOM, ln)
	s.deliver(Destination{Name: "PACS", Address: archive.DICOM, CalledAE: "ORTHANC", CallingAE: "ICHOR", Commitment: true, ReportWait: time.Millisecond}, 4, state.Committed)

	var ids []string
	archive.JSON("/instances", nil, &ids)
	if len(ids) != 4 {
		t.Fatalf("%d instances there", len(ids))
	}
	var sent any
	archive.JSON("/modalities/ichor/store", ids, &sent)
	type instance struct{ SOPClassUID, SOPInstanceUID string }
	ask := func(list []instance) (status string, failures int) {
		var asked struct{ Path string }
		archive.JSON("/modalities/ichor/storage-commitment", map[string]any{"DicomInstances": list}, &asked)
		var r struct {
			Status   string
			Failures []any
		}
		s.within("Orthanc has the report", func() bool { archive.JSON(asked.Path, nil, &r); return r.Status != "Pending" })
		return r.Status, len(r.Failures)
	}
	all, err := s.store.Deliveries(state.IDOf("1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	var list []instance
	for _, d := range all {
		list = append(list, instance{d.SOPClassUID, d.SOPInstanceUID})
	}
	if status, failures := ask(list); status != "Success" || failures != 0 {
		t.Errorf("%s, %d failures", status, failures)
	}
	if status, failures := ask(append(slices.Clone(list), instance{list[0].SOPClassUID, "1.2.3.999"})); status != "Failure" || failures != 1 {
		t.Errorf("with one that we do not have: %s, %d failures", status, failures)
	}
	s.within("nothing is left to be reported", func() bool {
		left := 0
		err := s.store.Promises(func(string, string, []byte, time.Duration) { left++ })
		return err == nil && left == 0
	})
}

// TestOrthancSTOW stores to Orthanc's DICOMweb plug-in.
func TestOrthancSTOW(t *testing.T) {
	const plugin = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
	if _, err := os.Stat(plugin); err != nil {
		t.Skip("the DICOMweb plug-in of Orthanc not found: install the Debian package orthanc-dicomweb")
	}
	ln := listen(t)
	archive := orthanc(t, ln.Addr().(*net.TCPAddr).Port, plugin)
	s := newSite(t, "", ln)
	s.deliver(Destination{Name: "WEB", URL: "http://" + archive.HTTP + "/dicom-web"}, 5, state.Stored)
	var ids []string
	archive.JSON("/instances", nil, &ids)
	if len(ids) != 5 {
		t.Errorf("%d instances there", len(ids))
	}
	for _, id := range ids {
		var tags map[string]any
		archive.JSON("/instances/"+id+"/simplified-tags", nil, &tags)
		if fmt.Sprint(tags["PatientName"]) != "Prüf^Änne" {
			t.Errorf("name %q", tags["PatientName"])
		}
	}
}
