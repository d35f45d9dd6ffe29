package audit

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ichor/reporting/events"
	"ichor/scp/scptest"
	"ichor/scp/secure"
)

// TestMessages: every kind that concerns security or a patient has a message with the code of PS3.15 §A.5.3.
func TestMessages(t *testing.T) {
	at := time.Date(2026, 11, 29, 10, 2, 0, 0, time.UTC)
	for _, c := range []struct {
		e     events.Event
		wants []string
	}{
		{events.Event{Kind: events.Started}, []string{`"110100"`, `"110120"`, `"110151"`}},
		{events.Event{Kind: events.Stopped}, []string{`"110100"`, `"110121"`}},
		{events.Event{Kind: events.Received, Peer: "CT1", Address: "10.1.2.3", StudyInstanceUID: "1.2.3", PatientID: `A"<7`, Objects: 32},
			[]string{`"110104"`, `EventActionCode="C"`, `UserID="CT1"`, `NetworkAccessPointID="10.1.2.3"`, `ParticipantObjectID="1.2.3"`, `ParticipantObjectID="A&#34;&lt;7"`, "MzI="}},
		{events.Event{Kind: events.Delivered, Destination: "pacs", StudyInstanceUID: "1.2.3"}, []string{`"110104"`, `UserID="pacs"`, `EventOutcomeIndicator="0"`}},
		{events.Event{Kind: events.GaveUp, Destination: "pacs", Outcome: "unreachable"}, []string{`EventOutcomeIndicator="8"`, "unreachable"}},
		{events.Event{Kind: events.Analysed, StudyInstanceUID: "1.2.3"}, []string{`"110103"`, `EventActionCode="R"`}},
		{events.Event{Kind: events.Looked, User: "anna", Address: "::1", Detail: "dashboard"}, []string{`"110103"`, `UserID="anna"`, `ParticipantObjectID="dashboard"`}},
		{events.Event{Kind: events.Removed, StudyInstanceUID: "1.2.3"}, []string{`"110105"`, `EventActionCode="D"`}},
		{events.Event{Kind: events.Refused, Peer: "WHO", Address: "10.0.0.9", Detail: "not in dicom.peers"}, []string{`"110113"`, `"110126"`, `EventOutcomeIndicator="4"`}},
		{events.Event{Kind: events.Changed, User: "root", Detail: "replay"}, []string{`"110131"`, "replay"}},
	} {
		c.e.At = at
		text, ok := Message(c.e, Options{SourceID: "ichor", AETitle: "ICHOR", Process: "ichor"})
		if !ok {
			t.Errorf("%s has no message", c.e.Kind)
		}
		var parsed message
		if err := xml.Unmarshal(text, &parsed); err != nil {
			t.Errorf("%s: %v", c.e.Kind, err)
		}
		for _, want := range append(c.wants, `EventDateTime="2026-11-29T10:02:00Z"`, `AuditSourceID="ichor"`, `codeSystemName="DCM"`) {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: no %s in\n%s", c.e.Kind, want, text)
			}
		}
	}
	if _, ok := Message(events.Event{Kind: events.Pruned}, Options{}); ok {
		t.Error("a message about the log itself")
	}
}

// TestRepositoryAway: messages wait while the repository is away, come in order, and none comes twice.
func TestRepositoryAway(t *testing.T) {
	authority := scptest.NewAuthority(t)
	own := authority.Valid("repository")
	theirs, err := secure.Open(secure.Files{Certificate: own.File, Key: own.Key, CA: authority.CA}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := secure.Open(secure.Files{CA: authority.CA}, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log, err := events.Open(events.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := plain.Addr().String()
	plain.Close()
	s := New(Options{Events: log, Dir: dir, Server: address, TLS: func() *tls.Config { return ours.Client("") }, SourceID: "ichor", Retry: 10 * time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	defer func() { stop(); <-ended }()
	log.Append(events.Event{Kind: events.Changed, Detail: "first"})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := s.Waiting(); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing waits")
		}
	}
	log.Append(events.Event{Kind: events.Changed, Detail: "second"})
	for _, want := range [][]string{{"first", "second"}, {"third"}} {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.NewListener(ln, theirs.Server(false)).Accept()
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		for _, w := range want {
			var n int
			if _, err := fmt.Fscanf(r, "%d ", &n); err != nil {
				t.Fatal(err)
			}
			text := make([]byte, n)
			if _, err := io.ReadFull(r, text); err != nil || !strings.HasPrefix(string(text), "<85>1 ") || !strings.Contains(string(text), w) {
				t.Errorf("want %s, got %q, %v", w, text, err)
			}
		}
		conn.Close()
		ln.Close()
		if want[0] == "first" {
			<-s.over() // it has seen that the connection ended
			log.Append(events.Event{Kind: events.Changed, Detail: "third"})
		}
	}
}

// TestFile: a site without a repository gets one message a line.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	log, err := events.Open(events.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	log.Append(events.Event{Kind: events.Started})
	log.Append(events.Event{Kind: events.Stopped})
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "audit.xml")
	s := New(Options{Events: log, Dir: dir, File: path})
	for range 2 { // the second time nothing is left to send
		if err := s.send(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "\n") != 2 || strings.Count(string(text), "<AuditMessage>") != 2 {
		t.Errorf("%v\n%s", err, text)
	}
}
