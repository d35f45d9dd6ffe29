package scp

import (
	"testing"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/spool"
)

// TestStuck: an association that is silent is idle, one that waits for this node's own work for very long is stuck.
func TestStuck(t *testing.T) {
	a := serve(t, Options{}, spool.Options{})
	s := connect(t, options(a))
	if err := s.Echo(t.Context()); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	until := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); a.server.Stuck(later) != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d associations are stuck, want %d", a.server.Stuck(later), want)
			}
		}
	}
	until(0)         // once the server waits for the next message
	a.sink.mu.Lock() // the receiver of the object hangs
	stored := make(chan error, 1)
	go func() {
		_, err := s.Store(t.Context(), request("1.2.3", ct(t, "1.2.3", 1000, dcm.ExplicitVRLittleEndian), dcm.ExplicitVRLittleEndian))
		stored <- err
	}()
	until(1)
	if n := a.server.Stuck(time.Now()); n != 0 {
		t.Error("stuck after milliseconds")
	}
	a.sink.mu.Unlock()
	if err := <-stored; err != nil {
		t.Error(err)
	}
	if err := s.Echo(t.Context()); err != nil { // the object is answered, so the association rests
		t.Error(err)
	}
	until(0)
}

// TestSetPeers: who may connect changes while the server runs. Associations that are open stay open.
func TestSetPeers(t *testing.T) {
	a := serve(t, Options{}, spool.Options{})
	open := connect(t, options(a))
	if err := a.server.SetPeers(nil, false); err == nil {
		t.Error("a server that nobody may call")
	}
	if err := a.server.SetPeers([]Peer{{AETitle: "CT9"}}, false); err != nil {
		t.Fatal(err)
	}
	if err := open.Echo(t.Context()); err != nil {
		t.Errorf("the open association: %v", err)
	}
	o := options(a)
	if _, err := dimse.Connect(t.Context(), o); err == nil {
		t.Error("a peer that was removed may connect")
	}
	o.CallingAE = "CT9"
	if _, err := dimse.Connect(t.Context(), o); err != nil {
		t.Errorf("the new peer: %v", err)
	}
}
