package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ichor/cmd/ichor/doctor"
	"ichor/cmd/ichor/node"
	"ichor/pipeline/state"
	"ichor/reporting/events"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/scptest"
)

// TestLeaks drives an analysed study, a refused one, a failing destination, a refused object and a dead letter through the whole
// node, with a mark in everything that names a patient or a study. It then looks for the marks in every log line, metric, trace, answer
// to someone unknown, and output of a command that operators paste into tickets. Objects, event log, audit messages and the pages
// of a signed-in reader may have them.
func TestLeaks(t *testing.T) {
	var log scptest.Log
	pacs := startPACS(t)
	c := toPACS(t, pacs)
	c.HTTP.Token = "0123456789abcdef"
	c.Audit.File = filepath.Join(t.TempDir(), "audit.xml")
	var spans scptest.Log // of traces, as they are sent
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(&spans, r.Body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(collector.Close)
	c.Tracing.Endpoint = collector.URL
	n := startLogging(t, c, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	marks := map[string]bool{}
	mark := func(d *dcm.DataSet) {
		for tag, value := range map[dcm.Tag]string{
			dcm.PatientName: "MARKNAME^A", dcm.PatientID: "MARKID", dcm.AccessionNumber: "MARKACC", dcm.ReferringPhysicianName: "MARKPHYSICIAN",
			dcm.StudyDescription: "MARKSTUDY", dcm.StudyID: "MARKSTUDYID", dcm.DeviceSerialNumber: "MARKSERIAL",
		} {
			d.SetStrings(tag, tag.VR(), value)
			marks[strings.TrimSuffix(value, "^A")] = true
		}
		d.SetStrings(dcm.SeriesDescription, "LO", "Head axial MARKSERIES")
		d.SetStrings(dcm.PatientBirthDate, "DA", "19410203")
		marks["MARKSERIES"], marks["19410203"] = true, true
		for _, tag := range []dcm.Tag{dcm.StudyInstanceUID, dcm.SeriesInstanceUID, dcm.SOPInstanceUID} {
			marks[d.String(tag)] = true
		}
	}
	var last state.CaseID
	for i, keep := range []func(int) bool{
		func(int) bool { return true },
		func(k int) bool { return k == 0 }, // too few slices
		func(int) bool { return true },
	} {
		dir, _ := sampleStudy(t, "normal")
		edit(t, dir, func(k int, d *dcm.DataSet) bool { mark(d); return keep(k) })
		switch i {
		case 0:
			pacs.Fail(dimse.OutOfResources, 1)
		case 2:
			pacs.Fail(dimse.SOPClassNotSupported, 1)
		}
		last = state.IDOf(send(t, n.Addr(), dir)[0].StudyInstanceUID)
		_, err := delivered(within(t), n.State(), last, func() {})
		if dead := err != nil && strings.Contains(err.Error(), "0122H"); err != nil && !dead {
			t.Fatal(err)
		}
	}
	get := func(path, token string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.HTTPAddr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintln(answer.Status, answer.Header, string(text))
	}
	t.Setenv("ICHOR_HTTP_TOKEN", c.HTTP.Token)
	outputs := map[string]string{"metrics": get("/metrics", c.HTTP.Token), "readyz": get("/readyz", c.HTTP.Token), "alarms": get("/api/v1/node", c.HTTP.Token)}
	for _, path := range []string{"/", "/cases/" + string(last), "/api/v1/cases", "/api/v1/node", "/metrics", "/readyz", "/healthz", "/nothing"} {
		outputs["unknown reader, "+path] = get(path, "")
	}
	for _, path := range []string{"/cases/none", "/api/v1/cases/none", "/nothing"} {
		outputs["error, "+path] = get(path, c.HTTP.Token)
	}
	for _, args := range [][]string{{"status"}, {"status", "--alarms", "--json"}, {"dead-letters", "--all"}, {"events", "verify", "--state", c.State}} {
		if args[0] != "events" {
			args = append(args, "--http", n.HTTPAddr())
		}
		_, out, errs := command(t, args...)
		outputs["ichor "+strings.Join(args[:1], " ")] += out + errs
	}
	c.HTTP.Listen = n.HTTPAddr()
	lines, err := json.Marshal(doctor.Examine(t.Context(), examination(t.Context(), c, true)))
	if err != nil {
		t.Fatal(err)
	}
	outputs["check"] = string(lines)
	outputs["log"] = log.String()
	for _, want := range []string{"status=analyzed", "status=refused", "msg=delivered", "given up", "alarm=dead-letters"} {
		eventually(t, want+" in the log", func() bool { return strings.Contains(log.String(), want) })
	}
	for _, want := range []string{"receive", "complete", "analyse", "network cavity-tissue", "network cavity-bone", "network bleed", "write", "deliver", "case", string(last)} {
		eventually(t, "a span "+want, func() bool { return strings.Contains(spans.String(), want) })
	}
	outputs["traces"] = spans.String()
	for where, text := range outputs {
		if len(text) < 3 {
			t.Errorf("%s: nothing", where)
		}
		for m := range marks {
			if strings.Contains(text, m) {
				t.Errorf("%s names %s:\n%.2000s", where, m, text)
			}
		}
	}
	// The marks are where they belong, so the test looks for the right ones.
	found := map[string]bool{}
	if err := events.Read(node.EventsDir(c), 0, func(e events.Event) error {
		found[string(e.Kind)+" "+e.PatientID] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []events.Kind{events.Received, events.Analysed, events.Delivered} {
		if !found[string(kind)+" MARKID"] {
			t.Errorf("the event log does not name the patient of what was %s: %v", kind, found)
		}
	}
	eventually(t, "audit messages", func() bool {
		text, err := os.ReadFile(c.Audit.File)
		return err == nil && strings.Count(string(text), `ParticipantObjectID="MARKID"`) > 5
	})
}
