package scp

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/spool"
	"ichor/scp/ul"
)

// TestTold: a minute has a bounded number of lines, and what was not logged is counted in a later one.
func TestTold(t *testing.T) {
	t.Parallel()
	var limit told
	start := time.Now()
	for i := range mostTold + 3 {
		yes, first, missed := limit.tell(start.Add(time.Duration(i) * time.Millisecond))
		if yes != (i < mostTold) || first != (i == mostTold) || missed != 0 {
			t.Fatalf("line %d: %t, %t, %d", i, yes, first, missed)
		}
	}
	for i, want := range []int{3, 0} {
		if yes, _, missed := limit.tell(start.Add(time.Minute)); !yes || missed != want {
			t.Errorf("line %d a minute later: %t, and %d missed, want %d", i, yes, missed, want)
		}
	}
}

// TestAssociationLines: the log has the begin of an association, and its end with what it brought, under one number. Many
// associations do not fill it.
func TestAssociationLines(t *testing.T) {
	a := serve(t, Options{Name: func(string) string { return "case1" }}, spool.Options{})
	var debug bytes.Buffer
	n := &session{Server: a.server, log: slog.New(slog.NewTextHandler(&debug, &slog.HandlerOptions{Level: slog.LevelDebug})),
		rq: &ul.AssociateRQ{Contexts: []ul.ProposedContext{{ID: 1, AbstractSyntax: dcm.CTImageStorage}, {ID: 3, AbstractSyntax: dcm.VerificationSOPClass}}}}
	n.tellAccepted([]ul.ContextResult{{ID: 1, TransferSyntax: dcm.ExplicitVRLittleEndian}, {ID: 3, Result: ul.ContextTransferUnsupported}})
	if want := `contexts="1 CT Image, Explicit VR Little Endian"`; !strings.Contains(debug.String(), want) {
		t.Errorf("no %s in %s", want, debug.String())
	}
	s := connect(t, options(a))
	for _, uid := range []string{"1.2.3", "1.2.4"} {
		if _, err := s.Store(t.Context(), request(uid, ct(t, uid, 1000, dcm.ExplicitVRLittleEndian), dcm.ExplicitVRLittleEndian)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range mostTold + 20 {
		if err := connect(t, options(a)).Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		o := options(a)
		o.CallingAE = "NOBODY"
		if _, err := dimse.Connect(t.Context(), o); err == nil {
			t.Fatal("accepted")
		}
	}
	a.stop()
	log := a.log.String()
	for _, want := range []string{
		`msg="association accepted" assoc=1 peer=SCANNER from=127.0.0.1 called=ICHOR tls=false` + "\n",
		`msg="association released" assoc=1 peer=SCANNER took=`, " objects=2 ", " case=case1\n",
		"which=accepted most=120", "which=rejected most=120",
	} {
		if n := strings.Count(log, want); n != 1 {
			t.Errorf("%d times %q", n, want)
		}
	}
	for _, what := range []string{"accepted", "released", "rejected"} {
		if n := strings.Count(log, `msg="association `+what+`"`); n != mostTold {
			t.Errorf("%d lines of associations %s", n, what)
		}
	}
	told, all := 0, a.kinds()[Rejected]
	for _, e := range a.events {
		if e.Kind == Rejected && !e.Untold {
			told++
		}
	}
	if told != mostTold || all != mostTold+20 {
		t.Errorf("%d of %d rejections are for the event log", told, all)
	}
}

// TestRefusalsAreLogged: an association that is one of too many still has a line for a refused request, and one for objects with a
// known UID and other content, however many it brings.
func TestRefusalsAreLogged(t *testing.T) {
	a := serve(t, Options{}, spool.Options{})
	for range mostTold {
		if err := connect(t, options(a)).Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s := connect(t, options(a))
	for _, size := range []int{1000, 2000} {
		for _, uid := range []string{"1.2.3", "1.2.4", "1.2.5"} {
			if _, err := s.Store(t.Context(), request(uid, ct(t, uid, size, dcm.ExplicitVRLittleEndian), dcm.ExplicitVRLittleEndian)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		if _, err := s.Store(t.Context(), request("1.2.6", ct(t, "1.2.7", 1000, dcm.ExplicitVRLittleEndian), dcm.ExplicitVRLittleEndian)); err == nil {
			t.Fatal("stored under another UID")
		}
	}
	if err := s.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.stop()
	for _, want := range []string{`level=WARN msg="request refused"`, `level=WARN msg="different content received under a known SOP instance UID`} {
		if n := strings.Count(a.log.String(), want); n != 1 {
			t.Errorf("%d times %s in\n%s", n, want, a.log.String())
		}
	}
	for _, uid := range []string{"1.2.3", "1.2.4", "1.2.5", "1.2.6", "1.2.7"} { // they identify a patient's study
		if strings.Contains(a.log.String(), uid) {
			t.Errorf("UID %s in\n%s", uid, a.log.String())
		}
	}
}
