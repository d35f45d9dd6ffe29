package scp

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"ichor/scp/commitment"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/spool"
	"ichor/scp/ul"
)

// ledger is Commitments, and Promises of a Callback, in memory.
type ledger struct {
	mu       sync.Mutex
	promises []promised
	results  chan commitment.Result
	woken    chan struct{}
	full     bool
}

type promised struct {
	peer, uid string
	request   []byte
	age       time.Duration
}

func newLedger() *ledger {
	return &ledger{results: make(chan commitment.Result, 10), woken: make(chan struct{}, 10)}
}

func (l *ledger) Asked(peer string, r commitment.Request) error {
	data, err := r.Encode(promiseSyntax)
	return errors.Join(err, l.AddPromise(peer, r.TransactionUID, data))
}

func (l *ledger) Answered(peer, uid string) error { return l.RemovePromise(peer, uid) }

func (l *ledger) AddPromise(peer, uid string, request []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		return errors.New("disk full")
	}
	l.promises = append(l.promises, promised{peer, uid, request, 0})
	return nil
}

func (l *ledger) RemovePromise(peer, uid string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, p := range l.promises {
		if p.peer == peer && p.uid == uid {
			l.promises = slices.Delete(l.promises, i, i+1)
			return nil
		}
	}
	return errors.New("not asked")
}

func (l *ledger) Promises(each func(peer, uid string, request []byte, age time.Duration)) error {
	for _, p := range l.pending() {
		each(p.peer, p.uid, p.request, p.age)
	}
	return nil
}

func (l *ledger) Wake() { l.woken <- struct{}{} }

func (l *ledger) Result(r commitment.Result) (bool, error) {
	l.results <- r
	return true, nil
}

func (l *ledger) pending() []promised {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.promises)
}

var commitContext = ul.ProposedContext{AbstractSyntax: dcm.StorageCommitmentPushModel,
	TransferSyntaxes: []string{dcm.ExplicitVRLittleEndian, dcm.ImplicitVRLittleEndian}}

// storeTwo stores the objects 1.2.3.1 and 1.2.3.2 and leaves the association open for Storage Commitment.
func storeTwo(t *testing.T, a *appliance, events func(dimse.Event) dimse.Status) *dimse.SCU {
	t.Helper()
	o := options(a)
	o.Contexts = append(o.Contexts, commitContext)
	o.Events = events
	scu, err := dimse.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, uid := range []string{"1.2.3.1", "1.2.3.2"} {
		_, err := scu.Store(t.Context(), dimse.StoreRequest{SOPClassUID: dcm.CTImageStorage, SOPInstanceUID: uid,
			TransferSyntaxUID: dcm.ExplicitVRLittleEndian, Data: bytes.NewReader(ct(t, uid, 100, dcm.ExplicitVRLittleEndian))})
		if err != nil {
			t.Fatal(err)
		}
	}
	return scu
}

// ask asks for two objects that are there, one of another class, and one that is not there.
func ask(t *testing.T, scu *dimse.SCU) error {
	t.Helper()
	ts := scu.Accepted(dcm.StorageCommitmentPushModel)[0]
	data, err := commitment.Request{TransactionUID: "1.2.9", References: []commitment.Reference{
		{SOPClassUID: dcm.CTImageStorage, SOPInstanceUID: "1.2.3.1"}, {SOPClassUID: dcm.CTImageStorage, SOPInstanceUID: "1.2.3.2"},
		{SOPClassUID: dcm.MRImageStorage, SOPInstanceUID: "1.2.3.1"}, {SOPClassUID: dcm.CTImageStorage, SOPInstanceUID: "1.2.3.3"},
	}}.Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	_, err = scu.Action(t.Context(), dimse.Notice{SOPClassUID: dcm.StorageCommitmentPushModel,
		SOPInstanceUID: dcm.StorageCommitmentPushModelInstance, Type: commitment.ActionRequest, TransferSyntaxUID: ts, Data: data})
	return err
}

func checkResult(t *testing.T, r commitment.Result) {
	t.Helper()
	if r.TransactionUID != "1.2.9" || len(r.Committed) != 2 || len(r.Failed) != 2 || r.Committed[1].SOPInstanceUID != "1.2.3.2" ||
		r.Failed[0].Reason != commitment.ClassInstanceConflict || r.Failed[1].Reason != commitment.NoSuchObject {
		t.Errorf("%+v", r)
	}
}

func TestCommitmentOnSameAssociation(t *testing.T) {
	l := newLedger()
	a := serve(t, Options{Commitments: l}, spool.Options{})
	var got []commitment.Result
	scu := storeTwo(t, a, func(e dimse.Event) dimse.Status {
		r, err := commitment.DecodeResult(e.Data, e.TransferSyntaxUID)
		if err != nil || e.Type != commitment.EventFailures {
			t.Errorf("%+v, error %v", e, err)
		}
		got = append(got, r)
		return dimse.StatusSuccess
	})
	if err := ask(t, scu); err != nil {
		t.Fatal(err)
	}
	if more, err := scu.Await(t.Context(), 20*time.Second); !more || err != nil || len(got) != 1 {
		t.Fatalf("%d reports, error %v", len(got), err)
	}
	checkResult(t, got[0])
	if err := scu.Echo(t.Context()); err != nil { // the association goes on; the answer to the report has been read by now
		t.Error(err)
	}
	if left := l.pending(); len(left) != 0 {
		t.Errorf("still to be reported: %+v", left)
	}
	if err := scu.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestCommitmentAfterRelease holds that a request whose sender does not wait is kept, and told on an association of our
// own as SCP by role selection; it is tried again when the peer is not there at first.
func TestCommitmentAfterRelease(t *testing.T) {
	l := newLedger()
	a := serve(t, Options{Commitments: l, Peers: []Peer{{AETitle: "SCANNER", Listens: true}}}, spool.Options{})
	scu := storeTwo(t, a, nil)
	if err := ask(t, scu); err != nil {
		t.Fatal(err)
	}
	if err := scu.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-l.woken

	// The peer is another node of the same kind: it takes results of what it asked.
	theirs := newLedger()
	peer := serve(t, Options{AETitle: "SCANNER", Commitments: theirs, Peers: []Peer{{AETitle: "ICHOR"}}}, spool.Options{})
	tries := 0
	r := NewCallback(CallbackOptions{Spool: a.spool, Promises: l, Retry: time.Millisecond,
		Address: func(string) (dimse.ConnectOptions, bool) {
			tries++
			address := peer.address
			if tries == 1 {
				address = closed(t)
			}
			return dimse.ConnectOptions{Address: address, CallingAE: "ICHOR", CalledAE: "SCANNER"}, true
		}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { _ = r.Run(ctx); close(ended) }()
	checkResult(t, <-theirs.results)
	cancel()
	<-ended
	if tries < 2 {
		t.Errorf("%d tries", tries)
	}
	// An answer that was cut off by cancel would be told again; here it was read or it was not, and both are right.
	if left := l.pending(); len(left) > 1 {
		t.Errorf("still to be reported: %+v", left)
	}
}

// TestMutePeerDelaysNoOther: one peer accepts the connection and never answers, another is told what it asked meanwhile.
func TestMutePeerDelaysNoOther(t *testing.T) {
	a := serve(t, Options{}, spool.Options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	theirs := newLedger()
	peer := serve(t, Options{AETitle: "SCANNER", Commitments: theirs, Peers: []Peer{{AETitle: "ICHOR"}}}, spool.Options{})
	addresses := map[string]string{"MUTE": ln.Addr().String(), "SCANNER": peer.address}
	l := newLedger()
	r := NewCallback(CallbackOptions{Spool: a.spool, Promises: l, Retry: time.Hour,
		Address: func(peer string) (dimse.ConnectOptions, bool) {
			return dimse.ConnectOptions{Address: addresses[peer], CallingAE: "ICHOR", CalledAE: peer}, true
		}})
	promise := func(peer string) {
		if err := l.Asked(peer, commitment.Request{TransactionUID: "1.2.9", References: []commitment.Reference{
			{SOPClassUID: dcm.CTImageStorage, SOPInstanceUID: "1.2.3.1"}}}); err != nil {
			t.Fatal(err)
		}
		r.Wake()
	}
	promise("MUTE")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { _ = r.Run(ctx); close(ended) }()
	held, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for range 2 { // and once more, for its goroutine has ended
		promise("SCANNER")
		select {
		case got := <-theirs.results:
			if len(got.Failed) != 1 {
				t.Errorf("%+v", got)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the peer that answers was not told")
		}
	}
	cancel()
	<-ended
}

// TestOldPromise: a result that could not be told while the node ran for MaxAge is dropped, whatever the clock says.
func TestOldPromise(t *testing.T) {
	a := serve(t, Options{}, spool.Options{})
	l := newLedger()
	request := commitment.Request{TransactionUID: "1.2.9", References: []commitment.Reference{{SOPClassUID: dcm.CTImageStorage, SOPInstanceUID: "1.2.3.1"}}}
	for _, peer := range []string{"YOUNG", "OLD"} {
		if err := l.Asked(peer, request); err != nil {
			t.Fatal(err)
		}
	}
	l.promises[0].age, l.promises[1].age = 2*time.Hour-1, 2*time.Hour+1
	if err := l.AddPromise("DAMAGED", "1.2.9", []byte("no data set")); err != nil {
		t.Fatal(err)
	}
	c := NewCallback(CallbackOptions{Spool: a.spool, Promises: l, MaxAge: 2 * time.Hour})
	due := c.due(nil)
	if p := due["YOUNG"]; len(due) != 1 || len(p) != 1 || p[0].References[0].SOPInstanceUID != "1.2.3.1" {
		t.Errorf("due: %+v", due)
	}
	if left := l.pending(); len(left) != 1 || left[0].peer != "YOUNG" {
		t.Errorf("still to be reported: %+v", left)
	}
}

// TestUnreadableIsNotAbsent: an object that cannot be read now is a processing failure, one whose file is gone is not there.
func TestUnreadableIsNotAbsent(t *testing.T) {
	stored := t.TempDir()
	a := serve(t, Options{Commitments: newLedger()}, spool.Options{Dir: stored})
	storeTwo(t, a, nil).Abort()
	a.stop()
	a.spool.Close()
	request := commitment.Request{TransactionUID: "1.2.9", References: []commitment.Reference{{SOPClassUID: dcm.CTImageStorage, SOPInstanceUID: "1.2.3.1"}}}
	for _, c := range []struct {
		fault func(path string) error
		want  commitment.Reason
	}{
		{func(path string) error { return os.Mkdir(path, 0o700) }, commitment.ProcessingFailure}, // read: EISDIR
		{func(string) error { return nil }, commitment.NoSuchObject},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(stored)); err != nil {
			t.Fatal(err)
		}
		sp, err := spool.Open(t.Context(), spool.Options{Dir: dir, ReserveBytes: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer sp.Close()
		segments, err := filepath.Glob(filepath.Join(dir, "*", "*.seg"))
		if err != nil || len(segments) == 0 {
			t.Fatal(segments, err)
		}
		for _, path := range segments {
			if err := errors.Join(os.Remove(path), c.fault(path)); err != nil {
				t.Fatal(err)
			}
		}
		if r := check(sp, request); len(r.Failed) != 1 || r.Failed[0].Reason != c.want {
			t.Errorf("%+v, want %v", r, c.want)
		}
	}
}

// closed is an address where nobody listens.
func closed(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestCommitmentRefused(t *testing.T) {
	l := newLedger()
	a := serve(t, Options{Commitments: l}, spool.Options{})
	scu := storeTwo(t, a, nil)
	good := dimse.Notice{SOPClassUID: dcm.StorageCommitmentPushModel, SOPInstanceUID: dcm.StorageCommitmentPushModelInstance,
		Type: commitment.ActionRequest, TransferSyntaxUID: dcm.ExplicitVRLittleEndian}
	empty, err := dcm.EncodeInformation(&dcm.DataSet{}, good.TransferSyntaxUID)
	if err != nil {
		t.Fatal(err)
	}
	none, err := commitment.Request{TransactionUID: "1.2"}.Encode(good.TransferSyntaxUID)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*dimse.Notice)
		want   dimse.Status
	}{
		"other instance": {func(n *dimse.Notice) { n.SOPInstanceUID = "1.2.3" }, dimse.NoSuchInstance},
		"other action":   {func(n *dimse.Notice) { n.Type = 2 }, dimse.NoSuchActionType},
		"junk":           {func(n *dimse.Notice) { n.Data = []byte("not a data set at all") }, dimse.InvalidArgument},
		"empty":          {func(n *dimse.Notice) { n.Data = empty }, dimse.InvalidArgument},
		"no references":  {func(n *dimse.Notice) { n.Data = none }, dimse.InvalidArgument},
		"too long":       {func(n *dimse.Notice) { n.Data = make([]byte, 5<<20) }, dimse.InvalidArgument},
	} {
		n := good
		tt.change(&n)
		if status, err := scu.Action(t.Context(), n); status != tt.want || err == nil {
			t.Errorf("%s: %v, error %v", name, status, err)
		}
	}
	l.mu.Lock()
	l.full = true
	l.mu.Unlock()
	err = ask(t, scu)
	if status, ok := errors.AsType[*dimse.StatusError](err); !ok || status.Status != dimse.ResourceLimitation {
		t.Errorf("not kept, and answered %v", err)
	}
	if err := scu.Release(t.Context()); err != nil {
		t.Error(err)
	}
	// A node without a ledger does not offer the service.
	plain := serve(t, Options{}, spool.Options{})
	o := options(plain)
	o.Contexts = append(o.Contexts, commitContext)
	scu, err = dimse.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if ts := scu.Accepted(dcm.StorageCommitmentPushModel); ts != nil {
		t.Errorf("accepted in %v", ts)
	}
	if err := scu.Release(t.Context()); err != nil {
		t.Error(err)
	}
}
