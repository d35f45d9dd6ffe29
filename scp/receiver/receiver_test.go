package receiver

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

func start(t *testing.T, o Options) *Receiver {
	t.Helper()
	o.Dir = filepath.Join(t.TempDir(), "pacs")
	r, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func options(r *Receiver) dimse.ConnectOptions {
	return dimse.ConnectOptions{
		Address: r.Address(), CallingAE: "TEST", CalledAE: r.AETitle(),
		ResponseTimeout: 5 * time.Second,
		Contexts: []ul.ProposedContext{
			{AbstractSyntax: dcm.VerificationSOPClass, TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian}},
			{AbstractSyntax: dcm.SegmentationStorage, TransferSyntaxes: []string{dcm.ExplicitVRLittleEndian}},
			{AbstractSyntax: dcm.SegmentationStorage, TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian}},
			{AbstractSyntax: "1.2.3.4", TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian}},
		},
	}
}

func connect(t *testing.T, o dimse.ConnectOptions) *dimse.SCU {
	t.Helper()
	s, err := dimse.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abort)
	return s
}

// object is a data set with nothing but its UIDs and n bytes of OB, Explicit VR Little Endian.
func object(t *testing.T, uid string, n int) []byte {
	t.Helper()
	d := &dcm.DataSet{}
	d.Put(dcm.Element{Tag: dcm.SOPClassUID, VR: "UI", Value: []string{dcm.SegmentationStorage}})
	d.Put(dcm.Element{Tag: dcm.SOPInstanceUID, VR: "UI", Value: []string{uid}})
	d.Put(dcm.Element{Tag: dcm.PixelData, VR: "OB", Value: bytes.Repeat([]byte{7}, n)})
	var b bytes.Buffer
	if err := dcm.WriteDataSet(&b, d, dcm.ExplicitVRLittleEndian); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func request(uid string, data []byte) dimse.StoreRequest {
	return dimse.StoreRequest{
		SOPClassUID: dcm.SegmentationStorage, SOPInstanceUID: uid,
		TransferSyntaxUID: dcm.ExplicitVRLittleEndian, Data: bytes.NewReader(data),
	}
}

func TestStore(t *testing.T) {
	r := start(t, Options{AETitle: "PACS"})
	s := connect(t, options(r))
	if got := s.Accepted(dcm.SegmentationStorage); len(got) != 2 || got[0] != dcm.ExplicitVRLittleEndian {
		t.Errorf("accepted %q", got)
	}
	if got := s.Accepted("1.2.3.4"); got != nil {
		t.Errorf("accepted %q for an unknown SOP class", got)
	}
	if err := s.Echo(t.Context()); err != nil {
		t.Error(err)
	}
	// Around the size of a PDU, where fragments end.
	for i, n := range []int{0, 2, 131050, 131062, 131064, 131066, 1 << 20, 3<<20 + 2} {
		uid := "1.2.826.0.1." + string(rune('1'+i))
		data := object(t, uid, n)
		for range 2 {
			if st, err := s.Store(t.Context(), request(uid, data)); err != nil || !st.Success() {
				t.Fatalf("%d bytes: %s, %v", n, st, err)
			}
		}
		if r.Count(uid) != 2 {
			t.Errorf("counted %d", r.Count(uid))
		}
		got, err := os.ReadFile(r.Objects()[i].Path)
		if err != nil || !bytes.HasSuffix(got, data) || string(got[128:132]) != "DICM" {
			t.Errorf("%d bytes: file of %d bytes for a data set of %d: %v", n, len(got), len(data), err)
		}
	}
	if err := s.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if err := r.Wait(t.Context(), 8); err != nil {
		t.Error(err)
	}
}

func TestFaults(t *testing.T) {
	r := start(t, Options{AETitle: "PACS"})
	data := object(t, "1.2.3", 100)

	r.Reject(1, true)
	_, err := dimse.Connect(t.Context(), options(r))
	var rejected *ul.RejectError
	if !errors.As(err, &rejected) || !rejected.Transient() {
		t.Errorf("rejection: %v", err)
	}
	wrong := options(r)
	wrong.CalledAE = "OTHER"
	if _, err = dimse.Connect(t.Context(), wrong); !errors.As(err, &rejected) || rejected.Transient() || rejected.Reason != ul.ReasonCalledAE {
		t.Errorf("wrong title: %v", err)
	}

	s := connect(t, options(r))
	r.Fail(dimse.OutOfResources, 2)
	for range 2 {
		st, err := s.Store(t.Context(), request("1.2.3", data))
		var failed *dimse.StatusError
		if !errors.As(err, &failed) || st != dimse.OutOfResources || !st.Transient() {
			t.Errorf("status %s, %v", st, err)
		}
	}
	if st, err := s.Store(t.Context(), request("1.2.3", data)); err != nil {
		t.Errorf("status %s, %v", st, err)
	}
	no := request("1.2.3", data)
	no.TransferSyntaxUID = dcm.DeflatedExplicitVRLittleEndian
	if _, err := s.Store(t.Context(), no); !errors.Is(err, ul.ErrNoContext) {
		t.Errorf("no context: %v", err)
	}

	r.Abort(1)
	var aborted *ul.AbortError
	if _, err := s.Store(t.Context(), request("1.2.3", data)); !errors.As(err, &aborted) || aborted.Local {
		t.Errorf("abort: %v", err)
	}

	slow := options(r)
	slow.ResponseTimeout = 50 * time.Millisecond
	s = connect(t, slow)
	r.Hang(1)
	if _, err := s.Store(t.Context(), request("1.2.3", data)); !errors.Is(err, ul.ErrTimeout) {
		t.Errorf("hang: %v", err)
	}
	s = connect(t, options(r))
	r.Hang(1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Store(ctx, request("1.2.3", data)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	if n := r.Count("1.2.3"); n != 1 {
		t.Errorf("stored %d times, want 1", n)
	}
	left, err := filepath.Glob(filepath.Join(r.o.Dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %q", left)
	}
}

// TestBrokenSource: a data set that cannot be read to its end must not be taken for a short one.
func TestBrokenSource(t *testing.T) {
	r := start(t, Options{})
	s := connect(t, options(r))
	broken := request("1.2.9", nil)
	broken.Data = &brokenReader{n: 300_000}
	if _, err := s.Store(t.Context(), broken); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	if r.Count("1.2.9") != 0 {
		t.Error("a broken object was kept")
	}
}

var errBroken = errors.New("disk gone")

type brokenReader struct{ n int }

func (b *brokenReader) Read(p []byte) (int, error) {
	if b.n <= 0 {
		return 0, errBroken
	}
	n := min(len(p), b.n)
	b.n -= n
	return n, nil
}

func TestCloseUnderLoad(t *testing.T) {
	r := start(t, Options{})
	s := connect(t, options(r))
	r.Hang(1)
	done := make(chan error)
	go func() {
		_, err := s.Store(context.Background(), request("1.2.3", object(t, "1.2.3", 10)))
		done <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("an object that was never answered counts as stored")
	}
}
