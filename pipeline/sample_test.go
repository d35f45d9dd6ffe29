package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/selection"
)

// onDisk is an object in a file.
type onDisk string

func (path onDisk) Open() (ObjectReader, error) {
	raw, err := os.ReadFile(string(path))
	if err != nil {
		return nil, err
	}
	return memory{data: raw}.Open()
}

// Each study of the sample set ends as it says: the right series is chosen, or it is refused for the right reason. What the networks
// have to see first is looked at in cmd/ichor.
func TestSamples(t *testing.T) {
	t.Parallel()
	all, err := phantom.Samples()
	if err != nil {
		t.Fatal(err)
	}
	for _, sample := range all {
		t.Run(sample.Name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			files, err := sample.Write(dir, synthetic.WriteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var truth phantom.Truth
			raw, err := os.ReadFile(filepath.Join(dir, "truth.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(raw, &truth); err != nil {
				t.Fatal(err)
			}
			paths, err := filepath.Glob(filepath.Join(dir, "*.dcm"))
			if err != nil || len(paths) != files {
				t.Fatalf("%d files, %d written, %v", len(paths), files, err)
			}
			study := Study{UID: truth.StudyInstanceUID}
			for _, p := range paths {
				study.Objects = append(study.Objects, onDisk(p))
			}
			got, err := Select(t.Context(), study, nil, selection.Options{MinAge: 18})
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains([]string{finding.Metal, finding.Motion}, sample.Expected.Code) {
				if got.Status != finding.Analyzed {
					t.Errorf("refused before its pixels were judged: %s %s", got.Code, got.Reason)
				}
				return
			}
			if got.Status != sample.Expected.Status || got.Code != sample.Expected.Code {
				t.Fatalf("%s %s: %s; want %s", got.Status, got.Code, got.Reason, sample.Expected)
			}
			if got.Status == finding.Refused {
				return
			}
			if got.Series.SeriesInstanceUID != truth.SeriesInstanceUID {
				t.Errorf("another series was chosen than the %d slices of the right one: %+v", got.Series.Slices, got.Candidates)
			}
			switch sample.Name {
			case "one-missing", "copies":
				if len(got.Warnings) == 0 {
					t.Error("no warning")
				}
			}
		})
	}
}
