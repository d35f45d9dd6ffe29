package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"ichor/config"
	"ichor/pipeline/state"
	"ichor/reporting"
	"ichor/scp/spool"
)

// TestResultsAreNotReplaced analyses a case twice while its destination is down. The second time the same objects have
// other bytes; what waits for delivery must stay what was recorded, or it is taken for damaged.
func TestResultsAreNotReplaced(t *testing.T) {
	n := &node{results: t.TempDir(), config: config.Config{Destinations: []config.Destination{{Name: "pacs"}}}}
	var first state.Delivery
	for _, text := range []string{"report", "report with a warning"} {
		deliveries, err := n.saveResults("0123456789abcdef", []reporting.Object{{SOPInstanceUID: "2.25.1", Bytes: []byte(text)}}, state.Routine, n.config.Destinations...)
		if err != nil || len(deliveries) != 1 {
			t.Fatal(deliveries, err)
		}
		if first.Path == "" {
			first = deliveries[0]
		}
		data, err := os.ReadFile(deliveries[0].Path)
		if err != nil || string(data) != "report" || !reflect.DeepEqual(deliveries[0], first) || first.Size != int64(len(data)) {
			t.Errorf("%q, %v; recorded %+v, at first %+v", data, err, deliveries[0], first)
		}
	}
}

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
	n := &node{config: c, log: slog.New(slog.DiscardHandler)}
	var err error
	if n.spool, err = spool.Open(t.Context(), spoolOptions(c, n.log)); err != nil {
		t.Fatal(err)
	}
	defer n.spool.Close()
	if n.store, err = state.Open(filepath.Join(c.State, "state.db")); err != nil {
		t.Fatal(err)
	}
	defer n.store.Close()
	if n.ready() == nil {
		t.Error("ready without disk space")
	}
	socket := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "20000")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.watchdog(ctx) }()
	buf := make([]byte, 100)
	if err := systemd.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if got, err := systemd.Read(buf); err != nil || string(buf[:got]) != "WATCHDOG=1" {
		t.Errorf("told %q, %v", buf[:got], err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestSlowRequestAtTheEnd stops the web interface while a request is on its way and never comes.
func TestSlowRequestAtTheEnd(t *testing.T) {
	n := &node{log: slog.New(slog.DiscardHandler), observer: newObserver()}
	var err error
	if n.http, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.serveHTTP(ctx) }()
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
