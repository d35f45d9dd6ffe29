package pipeline

import (
	"context"
	"slices"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/scp/dcm"
)

// of gives the study with another patient, under the same UIDs.
func of(t *testing.T, s Study, id string) Study {
	out := Study{UID: s.UID}
	for _, o := range s.Objects {
		out.Objects = append(out.Objects, memory{data: with(t, o.(memory).data, explicit(dcm.PatientID, "LO", []byte(id)), explicit(dcm.PatientName, "PN", []byte(id+"^X")))})
	}
	return out
}

// TestCorrectedPatient: images that came again under the same UIDs with another patient count in their newest copy; where only
// some of them did, the study is of several patients. Without an order of arrival nothing says which copy is right.
func TestCorrectedPatient(t *testing.T) {
	t.Parallel()
	s := study(t, synthetic.Head(shape()), nil)
	first, then := of(t, s, "TRAUMA47"), of(t, s, "HOSP08")
	all := slices.Concat(first.Objects, then.Objects)
	for _, c := range []struct {
		name    string
		objects []Input
		inOrder bool
		patient string // of the result; "": refused
	}{
		{"as it came", first.Objects, true, "TRAUMA47"},
		{"sent again as another patient", all, true, "HOSP08"},
		{"each image twice", interleaved(first.Objects, then.Objects), true, "HOSP08"},
		{"corrected and back", slices.Concat(then.Objects, first.Objects), true, "TRAUMA47"},
		{"sent again in part", all[:len(all)-3], true, ""},
		{"from files", all, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := analyzer().Analyze(context.Background(), Study{UID: first.UID, Objects: c.objects, InOrder: c.inOrder})
			if err != nil {
				t.Fatal(err)
			}
			f := r.Finding
			if c.patient == "" {
				if f.Code != finding.SeveralPatients || !strings.Contains(f.Reason, "Patient ID") {
					t.Errorf("%s %s %q", f.Status, f.Code, f.Reason)
				}
				return
			}
			corrected := len(c.objects) > len(first.Objects)
			said := slices.ContainsFunc(f.Warnings, func(w string) bool {
				return strings.Contains(w, "corrected the patient identification: 32 images") && strings.Contains(w, "Patient ID, Patient's Name")
			})
			if got := r.Header.String(dcm.PatientID); f.Status != finding.Analyzed || got != c.patient || f.Corrected != corrected || said != corrected {
				t.Errorf("%s %q, patient %s, corrected %v, warnings %q", f.Status, f.Reason, got, f.Corrected, f.Warnings)
			}
			if text := strings.Join(f.Warnings, " "); strings.Contains(text, "TRAUMA") || strings.Contains(text, "HOSP") {
				t.Errorf("warnings name the patient: %q", text)
			}
		})
	}
}

func interleaved(a, b []Input) (out []Input) {
	for i := range a {
		out = append(out, a[i], b[i])
	}
	return out
}

// TestTruncatedCopies: of two copies of an image the one that can be decoded is used, in whichever order they come; without one, the
// study is refused.
func TestTruncatedCopies(t *testing.T) {
	t.Parallel()
	s := study(t, synthetic.Head(shape()), nil)
	var cut []Input
	for _, o := range s.Objects {
		data := o.(memory).data
		cut = append(cut, memory{data: data[:len(data)-100]})
	}
	for _, c := range []struct {
		name    string
		objects []Input
		say     string // "": refused
	}{
		{"truncated first", slices.Concat(cut, s.Objects), "32 of 32 images of the series have a copy whose pixels cannot be decoded"},
		{"truncated last", slices.Concat(s.Objects, cut), " "},
		{"part of them truncated first", slices.Concat(cut[:5], s.Objects), "5 of 32 images"},
		{"no other copy", slices.Concat(cut[:5], s.Objects[5:]), ""},
	} {
		r, err := analyzer().Analyze(t.Context(), Study{UID: s.UID, Objects: c.objects})
		if err != nil {
			t.Fatal(err)
		}
		f := r.Finding
		if c.say == "" {
			if f.Code != finding.Undecodable {
				t.Errorf("%s: %s %q", c.name, f.Status, f.Reason)
			}
			continue
		}
		if f.Status != finding.Analyzed || f.Series.Slices != len(s.Objects) || !strings.Contains(strings.Join(f.Warnings, " ")+" ", c.say) {
			t.Errorf("%s: %s %q %q", c.name, f.Status, f.Reason, f.Warnings)
		}
	}
}
