package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"ichor/config"
	"ichor/pipeline/state"
	"ichor/scp"
	"ichor/scp/spool"
)

// TestFullDisk runs below the reserve: the node is not ready, but it lives, and a service manager that restarted it
// would end deliveries without freeing a byte. No reserve at all can be had.
func TestFullDisk(t *testing.T) {
	c := config.Default()
	c.State = t.TempDir()
	for mib, want := range map[int]bool{0: false, 16: true} {
		c.DICOM.ReserveMiB = mib
		if got := spoolOptions(c, nil).ReserveBytes; got > 0 != want || got == 0 {
			t.Errorf("reserve_mib %d: the spool keeps %d bytes free", mib, got)
		}
	}
	c.DICOM.ReserveMiB = 1 << 40
	n := &Node{config: c, log: slog.New(slog.DiscardHandler)}
	var err error
	if n.spool, err = spool.Open(t.Context(), spoolOptions(c, n.log)); err != nil {
		t.Fatal(err)
	}
	defer n.spool.Close()
	if n.store, err = state.Open(filepath.Join(c.State, "state.db")); err != nil {
		t.Fatal(err)
	}
	defer n.store.Close()
	if n.Ready() == nil {
		t.Error("ready without disk space")
	}
	if err := n.store.Alive(); err != nil {
		t.Errorf("not alive: %v", err)
	}
}

// TestSlowRequestAtTheEnd stops the web interface while a request is on its way and never comes.
func TestSlowRequestAtTheEnd(t *testing.T) {
	n := &Node{log: slog.New(slog.DiscardHandler), observer: newObserver()}
	n.config.HTTP.MaxConnections = 8
	var err error
	if n.http, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.serveHTTP(ctx, n.http, n.web()) }()
	conn, err := net.Dial("tcp", n.http.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: ")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // until the server has seen the beginning
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("does not end")
	}
}

// TestTurnedAway: what is not accepted is added up by peer, class and reason, and does not grow without bound.
func TestTurnedAway(t *testing.T) {
	t.Parallel()
	var turned turnedAway
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 3 {
		turned.received(scp.Event{Kind: scp.Unsupported, Peer: "CT2", SOPClassUID: "1.2.3", Reason: scp.UnsupportedClass, Count: 2, Time: at.Add(time.Duration(i) * time.Hour)})
	}
	turned.received(scp.Event{Kind: scp.Stored, Peer: "CT2", SOPClassUID: "1.2.4"})
	list := turned.newest()
	if len(list) != 1 || list[0].Contexts != 6 || list[0].Peer != "CT2" || !list[0].Last.Equal(at.Add(2*time.Hour)) {
		t.Errorf("%+v", list)
	}
	for i := range 3 * mostTurnedAway {
		turned.received(scp.Event{Kind: scp.Unsupported, Peer: "CT2", SOPClassUID: fmt.Sprint("1.3.", i), Reason: scp.UnsupportedClass, Count: 1})
	}
	if list = turned.newest(); len(list) != mostTurnedAway || list[0].SOPClassUID != "1.2.3" {
		t.Errorf("%d, the first is %+v", len(list), list[0])
	}
}
