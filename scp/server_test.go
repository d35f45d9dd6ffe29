package scp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/spool"
	"ichor/scp/ul"
)

// sink notes what it is told and that it is told in order.
type sink struct {
	mu      sync.Mutex
	open    map[uint64]bool
	objects []spool.Object
	fresh   int
	refused int
	wrong   []string
}

func (s *sink) Refused(uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused++
}

func (s *sink) Opened(assoc uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[assoc] {
		s.wrong = append(s.wrong, fmt.Sprint("opened twice: ", assoc))
	}
	s.open[assoc] = true
}

func (s *sink) Received(assoc uint64, o spool.Object, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open[assoc] {
		s.wrong = append(s.wrong, fmt.Sprint("received while not open: ", assoc))
	}
	s.objects = append(s.objects, o)
	if fresh {
		s.fresh++
	}
}

func (s *sink) Closed(assoc uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open[assoc] {
		s.wrong = append(s.wrong, fmt.Sprint("closed while not open: ", assoc))
	}
	delete(s.open, assoc)
}

// appliance is a server with its surroundings.
type appliance struct {
	address string
	server  *Server
	spool   *spool.Spool
	sink    *sink
	log     *bytes.Buffer // complete after stop
	stop    func()        // drains; safe to call twice

	mu     sync.Mutex
	events []Event
}

func (a *appliance) kinds() map[EventKind]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := map[EventKind]int{}
	for _, e := range a.events {
		n[e.Kind]++
	}
	return n
}

// serve runs a server for SCANNER and STORESCU; o and so override what it would otherwise use.
func serve(t testing.TB, o Options, so spool.Options) *appliance {
	t.Helper()
	return serveTLS(t, o, so, nil)
}

// serveTLS is serve over TLS if secured is not nil.
func serveTLS(t testing.TB, o Options, so spool.Options, secured *tls.Config) *appliance {
	t.Helper()
	if so.Dir == "" {
		so.Dir = t.TempDir()
	}
	if so.ReserveBytes == 0 {
		so.ReserveBytes = -1
	}
	sp, err := spool.Open(context.Background(), so)
	if err != nil {
		t.Fatal(err)
	}
	a := &appliance{spool: sp, sink: &sink{open: map[uint64]bool{}}, log: &bytes.Buffer{}}
	if o.AETitle == "" {
		o.AETitle = "ICHOR"
	}
	if o.Peers == nil {
		o.Peers = []Peer{{AETitle: "SCANNER"}, {AETitle: "STORESCU"}, {AETitle: "ECHOSCU"}}
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = 20 * time.Millisecond
	}
	o.Spool, o.Sink = sp, a.sink
	o.Logger = slog.New(slog.NewTextHandler(a.log, nil))
	o.Events = func(e Event) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.events = append(a.events, e)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.address, a.server = ln.Addr().String(), s
	if secured != nil {
		ln = tls.NewListener(ln, secured)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	var once sync.Once
	a.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("serve: %v", err)
				}
			case <-time.After(15 * time.Second):
				t.Errorf("server does not end")
				return
			}
			if len(a.sink.open) > 0 || len(a.sink.wrong) > 0 {
				t.Errorf("sink: still open %v, %q", a.sink.open, a.sink.wrong)
			}
			if err := sp.Close(); err != nil {
				t.Errorf("spool: %v", err)
			}
		})
	}
	t.Cleanup(a.stop)
	return a
}

// ct is a data set with what identifies a CT object, and n bytes of pixels.
func ct(t testing.TB, uid string, n int, transferSyntax string) []byte {
	t.Helper()
	d := &dcm.DataSet{}
	for tag, v := range map[dcm.Tag]string{
		dcm.SOPClassUID: dcm.CTImageStorage, dcm.SOPInstanceUID: uid,
		dcm.StudyInstanceUID: "1.2.826.0.99.1", dcm.SeriesInstanceUID: "1.2.826.0.99.2",
	} {
		d.Put(dcm.Element{Tag: tag, VR: "UI", Value: []string{v}})
	}
	d.Put(dcm.Element{Tag: dcm.Modality, VR: "CS", Value: []string{"CT"}})
	d.Put(dcm.Element{Tag: dcm.PatientName, VR: "PN", Value: []string{"Secret^Patient"}})
	d.Put(dcm.Element{Tag: dcm.PixelData, VR: "OW", Value: bytes.Repeat([]byte{1, 2}, n/2)})
	var b bytes.Buffer
	if err := dcm.WriteDataSet(&b, d, transferSyntax); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func options(a *appliance) dimse.ConnectOptions {
	return dimse.ConnectOptions{
		Address: a.address, CallingAE: "SCANNER", CalledAE: "ICHOR", ResponseTimeout: 10 * time.Second,
		Contexts: []ul.ProposedContext{
			{AbstractSyntax: dcm.VerificationSOPClass, TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian}},
			{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian, dcm.ExplicitVRLittleEndian}},
			{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian}},
			{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{dcm.JPEGLosslessSV1}},
			{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{dcm.ExplicitVRBigEndian}},
			{AbstractSyntax: "1.2.840.10008.5.1.4.1.2.2.1", TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian}},
		},
	}
}

func connect(t testing.TB, o dimse.ConnectOptions) *dimse.SCU {
	t.Helper()
	s, err := dimse.Connect(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abort)
	return s
}

func request(uid string, data []byte, transferSyntax string) dimse.StoreRequest {
	return dimse.StoreRequest{
		SOPClassUID: dcm.CTImageStorage, SOPInstanceUID: uid, TransferSyntaxUID: transferSyntax, Data: bytes.NewReader(data),
	}
}

func TestStore(t *testing.T) {
	a := serve(t, Options{}, spool.Options{})
	s := connect(t, options(a))
	if got := s.Accepted(dcm.CTImageStorage); len(got) != 2 || got[0] != dcm.ExplicitVRLittleEndian || got[1] != dcm.ImplicitVRLittleEndian {
		t.Errorf("accepted %q", got)
	}
	if err := s.Echo(t.Context()); err != nil {
		t.Error(err)
	}
	for _, ts := range []string{dcm.ExplicitVRLittleEndian, dcm.ImplicitVRLittleEndian} {
		for i, n := range []int{0, 1000, 600_000} {
			uid := fmt.Sprintf("1.2.%d.%d", len(ts), i)
			if st, err := s.Store(t.Context(), request(uid, ct(t, uid, n, ts), ts)); err != nil || !st.Success() {
				t.Fatalf("%d bytes: %s, %v", n, st, err)
			}
		}
	}
	// Sent again: success, and not kept twice.
	uid := "1.2.19.1"
	if _, err := s.Store(t.Context(), request(uid, ct(t, uid, 1000, dcm.ExplicitVRLittleEndian), dcm.ExplicitVRLittleEndian)); err != nil {
		t.Error(err)
	}
	if err := s.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(a.spool.Study("1.2.826.0.99.1")); n != 6 {
		t.Errorf("%d objects in the spool, want 6", n)
	}
	o := a.sink.objects[5]
	r, err := a.spool.Read(o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := dcm.Read(r, r.Size(), dcm.Limits{})
	if err != nil || f.Meta.TransferSyntaxUID != dcm.ImplicitVRLittleEndian || o.CallingAE != "SCANNER" {
		t.Errorf("%+v, %v", o, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	a.stop()
	if len(a.sink.objects) != 7 || a.sink.fresh != 6 {
		t.Errorf("sink: %d objects, %d fresh", len(a.sink.objects), a.sink.fresh)
	}
	if k := a.kinds(); k[Stored] != 7 || k[Accepted] != 1 || k[Released] != 1 || k[Echoed] != 1 || k[Unsupported] != 1 || len(k) != 5 {
		t.Errorf("events %v", k)
	}
	for _, secret := range []string{"Secret", "1.2.826.0.99.1"} {
		if strings.Contains(a.log.String(), secret) {
			t.Errorf("log names %s:\n%s", secret, a.log)
		}
	}
}

func TestAdmission(t *testing.T) {
	prefix := netip.MustParsePrefix("192.0.2.0/24")
	home := netip.MustParsePrefix("127.0.0.0/8")
	for name, c := range map[string]struct {
		server          Options
		calling, called string
		want            ul.RejectError // zero: accepted
	}{
		"known":            {Options{}, "SCANNER", "ANYTHING", ul.RejectError{}},
		"unknown":          {Options{}, "NOBODY", "ICHOR", ul.RejectError{Result: 1, Source: 1, Reason: 3}},
		"case matters":     {Options{}, "scanner", "ICHOR", ul.RejectError{Result: 1, Source: 1, Reason: 3}},
		"any":              {Options{AnyPeer: true}, "NOBODY", "ICHOR", ul.RejectError{}},
		"wrong called":     {Options{CheckCalledAE: true}, "SCANNER", "OTHER", ul.RejectError{Result: 1, Source: 1, Reason: 7}},
		"right called":     {Options{CheckCalledAE: true}, "SCANNER", "ICHOR", ul.RejectError{}},
		"wrong address":    {Options{Peers: []Peer{{AETitle: "SCANNER", Prefixes: []netip.Prefix{prefix}}}}, "SCANNER", "ICHOR", ul.RejectError{Result: 1, Source: 1, Reason: 3}},
		"one of two":       {Options{Peers: []Peer{{AETitle: "SCANNER", Prefixes: []netip.Prefix{prefix, home}}}}, "SCANNER", "ICHOR", ul.RejectError{}},
		"listed elsewhere": {Options{Peers: []Peer{{AETitle: "SCANNER", Prefixes: []netip.Prefix{prefix}}}, AnyPeer: true}, "SCANNER", "ICHOR", ul.RejectError{Result: 1, Source: 1, Reason: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t, c.server, spool.Options{})
			o := options(a)
			o.CallingAE, o.CalledAE = c.calling, c.called
			s, err := dimse.Connect(t.Context(), o)
			var r *ul.RejectError
			switch {
			case c.want == ul.RejectError{}:
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Release(t.Context()); err != nil {
					t.Error(err)
				}
			case !errors.As(err, &r) || *r != c.want:
				t.Errorf("got %v, want %v", err, &c.want)
			}
		})
	}
}

func TestOverCapacity(t *testing.T) {
	a := serve(t, Options{MaxAssociations: 2}, spool.Options{})
	first, second := connect(t, options(a)), connect(t, options(a))
	_, err := dimse.Connect(t.Context(), options(a))
	var r *ul.RejectError
	if !errors.As(err, &r) || *r != (ul.RejectError{Result: 2, Source: 3, Reason: 2}) {
		t.Errorf("got %v", err)
	}
	if err := first.Release(t.Context()); err != nil {
		t.Error(err)
	}
	// The place is free as soon as the server saw the connection close.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s, err := dimse.Connect(t.Context(), options(a))
		if err == nil {
			s.Abort()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if err := second.Echo(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	a := serve(t, Options{}, spool.Options{MaxObjectBytes: 100_000})
	s := connect(t, options(a))
	ts := dcm.ExplicitVRLittleEndian
	good := ct(t, "1.2.3", 1000, ts)
	for name, c := range map[string]struct {
		r    dimse.StoreRequest
		want dimse.Status
	}{
		"too large":      {request("1.2.3", ct(t, "1.2.3", 200_000, ts), ts), dimse.ObjectTooLarge},
		"other instance": {request("1.2.4", good, ts), dimse.DataSetMismatch},
		"empty":          {request("1.2.3", nil, ts), dimse.DataSetMismatch},
		"no UID":         {request("../../etc", good, ts), dimse.InvalidInstance},
		"garbage":        {request("1.2.3", bytes.Repeat([]byte{0xA5}, 3000), ts), dimse.CannotUnderstand},
		"ends in header": {request("1.2.3", good[:60], ts), dimse.CannotUnderstand},
	} {
		st, err := s.Store(t.Context(), c.r)
		var failed *dimse.StatusError
		if !errors.As(err, &failed) || st != c.want {
			t.Errorf("%s: %s, %v, want %s", name, st, err, c.want)
		} else if failed.Comment == "" || strings.Contains(failed.Comment, "1.2.") {
			t.Errorf("%s: comment %q", name, failed.Comment)
		}
	}
	if st, err := s.Store(t.Context(), request("1.2.3", good, ts)); err != nil {
		t.Errorf("after all that: %s, %v", st, err)
	}
	if n := len(a.sink.objects); n != 1 || a.sink.refused != 0 { // what will never be stored does not come again
		t.Errorf("%d objects, %d refused for want of space", n, a.sink.refused)
	}
}

func TestNoSpace(t *testing.T) {
	a := serve(t, Options{}, spool.Options{ReserveBytes: 1 << 60})
	s := connect(t, options(a))
	ts := dcm.ExplicitVRLittleEndian
	for range 2 {
		st, err := s.Store(t.Context(), request("1.2.3", ct(t, "1.2.3", 500_000, ts), ts))
		if st != dimse.OutOfResources || err == nil {
			t.Errorf("%s, %v", st, err)
		}
	}
	if err := s.Echo(t.Context()); err != nil {
		t.Error(err)
	}
	if a.sink.mu.Lock(); a.sink.refused != 2 {
		t.Errorf("the sink was told of %d refusals", a.sink.refused)
	}
	a.sink.mu.Unlock()
}

func TestNewRefuses(t *testing.T) {
	sp := &spool.Spool{}
	for name, o := range map[string]Options{
		"no title":   {Spool: sp, Sink: &sink{}, AnyPeer: true},
		"long title": {AETitle: "SEVENTEEN_LETTERS", Spool: sp, Sink: &sink{}, AnyPeer: true},
		"no spool":   {AETitle: "A", Sink: &sink{}, AnyPeer: true},
		"no peers":   {AETitle: "A", Spool: sp, Sink: &sink{}},
		"tiny PDU":   {AETitle: "A", Spool: sp, Sink: &sink{}, AnyPeer: true, MaxPDU: 5},
		"empty peer": {AETitle: "A", Spool: sp, Sink: &sink{}, Peers: []Peer{{}}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
