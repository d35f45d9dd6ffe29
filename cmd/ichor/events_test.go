package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ichor/reporting/events"
	"ichor/scp/dcm"
)

// TestEventLogMissing: a log that was removed does not pass the proof, and what finds nothing says so.
func TestEventLogMissing(t *testing.T) {
	t.Parallel()
	state := func(db bool, entriesAt ...time.Time) string {
		dir := t.TempDir()
		if db {
			if err := os.WriteFile(filepath.Join(dir, "state.db"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, at := range entriesAt {
			l, err := events.Open(events.Options{Dir: filepath.Join(dir, "events"), Now: func() time.Time { return at }})
			if err != nil {
				t.Fatal(err)
			}
			l.Append(events.Event{Kind: events.Started})
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	receive := func(dir string) string { // an object, now
		image := &dcm.DataSet{}
		for tag, uid := range map[dcm.Tag]string{dcm.SOPClassUID: dcm.CTImageStorage, dcm.SOPInstanceUID: "2.25.1", dcm.StudyInstanceUID: "2.25.2", dcm.SeriesInstanceUID: "2.25.3"} {
			image.SetStrings(tag, "UI", uid)
		}
		var data bytes.Buffer
		if err := dcm.WriteDataSet(&data, image, dcm.ExplicitVRLittleEndian); err != nil {
			t.Fatal(err)
		}
		association := openSpool(t, filepath.Join(dir, "spool")).Intake()
		w, err := association.Create(dcm.CTImageStorage, "2.25.1", dcm.ExplicitVRLittleEndian, "CT")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.ReadFrom(&data); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := association.Close(); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	now := time.Now()
	old := receive(state(true, now.Add(time.Hour)))
	anew := state(true)
	l, err := events.Open(events.Options{Dir: filepath.Join(anew, "events")})
	if err != nil {
		t.Fatal(err)
	}
	l.Append(events.Event{Kind: events.Missing, Detail: "kept since 2026"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	good := receive(state(true, now.Add(-time.Hour), now))
	none := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"whole", []string{"verify", "--state", good}, 0, "2 entries are as they were written, 1 to 2, since "},
		{"no state folder", []string{"verify", "--state", none}, 1, "there is no state folder " + none},
		{"log removed", []string{"verify", "--state", state(true)}, 1, "the log was removed"},
		{"objects before the log", []string{"verify", "--state", old}, 0, "before the log: 1 objects were received before its first entry, since "},
		{"and the log itself", []string{"verify", "--state", old}, 0, "1 entries are as they were written"},
		{"as JSON", []string{"verify", "--json", "--state", old}, 0, `"objects": 1,`},
		{"begun anew", []string{"verify", "--state", anew}, 1, "an earlier one (kept since 2026) is missing"},
		{"never run", []string{"verify", "--state", state(false)}, 0, "no node has run"},
		{"nothing to show", []string{"--state", none}, 1, "there is no state folder"},
		{"nothing to show, removed", []string{"--state", state(true)}, 1, "the log was removed"},
		{"unknown kind", []string{"--kind", "nosuch", "--state", good}, 2, "the kinds are started, stopped, "},
		{"unknown case", []string{"--case", "zzz", "--state", good}, 0, "no entry of the event log"},
		{"days", []string{"--since", "30d", "--state", good}, 0, "started"},
		{"days that exclude", []string{"--since", "0.01d", "--limit", "1", "--state", good}, 0, "started"},
		{"no unit", []string{"--since", "30", "--state", good}, 2, "--since 30: write a time with its unit, such as 30d"},
	} {
		code, out, errs := command(t, append([]string{"events"}, c.args...)...)
		if code != c.code || !strings.Contains(out+errs, c.says) || strings.Count(errs, "\n") > 1 {
			t.Errorf("%s: exit code %d, want %d, and %q in %s%s", c.name, code, c.code, c.says, out, errs)
		}
	}
}
