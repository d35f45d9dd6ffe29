package outcome

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"ichor/pipeline/state"
	"ichor/reporting"
)

// TestResultsAreNotReplaced analyses a case twice while its destination is down. The second time the same objects have
// other bytes; what waits for delivery must stay what was recorded, or it is taken for damaged.
func TestResultsAreNotReplaced(t *testing.T) {
	r, err := New(Options{Dir: t.TempDir(), Destinations: []Destination{{Name: "pacs"}}})
	if err != nil {
		t.Fatal(err)
	}
	var first state.Delivery
	for _, text := range []string{"report", "report with a warning"} {
		deliveries, err := r.save("0123456789abcdef", []reporting.Object{{SOPInstanceUID: "2.25.1", Bytes: []byte(text)}}, state.Routine, r.o.Destinations...)
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

// TestHalfWritten: files that a killed run left half-written are removed, results stay.
func TestHalfWritten(t *testing.T) {
	dir := t.TempDir()
	part, whole := filepath.Join(dir, "0123456789abcdef", ".part-123"), filepath.Join(dir, "0123456789abcdef", "2.25.1.dcm")
	if err := errors.Join(os.Mkdir(filepath.Dir(part), 0o750), os.WriteFile(part, nil, 0o600), os.WriteFile(whole, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(part); err == nil {
		t.Error("half-written file left")
	}
	if _, err := os.Stat(whole); err != nil {
		t.Error(err)
	}
}
