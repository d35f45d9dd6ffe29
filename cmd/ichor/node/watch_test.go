package node

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ichor/config"
	"ichor/pipeline/finding"
	"ichor/reporting/web"
)

// TestAlarmsInLog: an alarm is logged when it begins, every day while it lasts, and when it is over; words of a peer are not.
func TestAlarmsInLog(t *testing.T) {
	var b strings.Builder
	w := watcher{log: slog.New(slog.NewTextHandler(&b, nil)), told: map[string]time.Time{}}
	down := []web.Alarm{{Name: "destination-down", Severity: web.Warning, Subject: "pacs", Text: "MARKED", Foreign: true, Remedy: "start it"}}
	at := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	for hour := range 50 {
		w.tell(nil, down, at.Add(time.Duration(hour)*time.Hour))
	}
	if n := strings.Count(b.String(), `msg="needs attention" alarm=destination-down subject=pacs remedy="start it"`); n != 3 || strings.Contains(b.String(), "MARKED") {
		t.Errorf("%d lines in 50 hours:\n%s", n, b.String())
	}
	w.tell(errors.New("queue: starting"), []web.Alarm{{Name: "not-ready", Text: "starting"}}, at) // at one look only
	w.tell(nil, nil, at)
	for range 3 {
		w.tell(errors.New("disk: full"), nil, at)
	}
	w.tell(nil, nil, at)
	if strings.Contains(b.String(), "starting") {
		t.Errorf("what passed at once is logged:\n%s", b.String())
	}
	for line, want := range map[string]int{`msg="alarm is over" alarm="destination-down pacs"`: 1, `level=WARN msg="not ready" err="disk: full"`: 1, `msg="ready again"`: 1} {
		if n := strings.Count(b.String(), line); n != want {
			t.Errorf("%s: %d times in\n%s", line, n, b.String())
		}
	}
}

// TestNextDaily: the self-test runs at its hour, also over the changes of summer time.
func TestNextDaily(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones on this machine")
	}
	for now, want := range map[string]string{
		"2026-11-29 04:29": "2026-11-29 04:30",
		"2026-11-29 04:30": "2026-11-30 04:30",
		"2026-12-31 23:59": "2027-01-01 04:30",
		"2026-03-28 05:00": "2026-03-29 04:30", // the night in which the clock is set forward
		"2026-10-24 05:00": "2026-10-25 04:30",
	} {
		at, err := time.ParseInLocation("2006-01-02 15:04", now, berlin)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := nextDaily(config.Canary{At: "04:30"}, at); !ok || got.Format("2006-01-02 15:04") != want {
			t.Errorf("after %s: %v", now, got)
		}
	}
	if _, ok := nextDaily(config.Canary{}, time.Now()); ok {
		t.Error("daily without a time")
	}
}

func TestCompareVolumes(t *testing.T) {
	truth := finding.Volumes{Total: 40}
	for _, c := range []struct {
		found   float64
		percent int
		ok      bool
	}{{40, 25, true}, {49.9, 25, true}, {50.1, 25, false}, {29.9, 25, false}, {0, 25, false}, {0, 0, true}} {
		if _, err := compareVolumes(finding.Volumes{Total: c.found}, truth, c.percent); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestGroup: the same reason about other objects is the same group.
func TestGroup(t *testing.T) {
	a := group("pacs", "object 1.2.840.1 refused after 3 tries")
	if a != group("pacs", "object 1.2.840.99999 refused after 12 tries") || a == group("pacs", "busy") || a == group("other", "object 1.2.840.1 refused after 3 tries") {
		t.Error("groups are not by destination and reason")
	}
}
