package patient

import (
	"errors"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

func image(id, name, birth, sex string) *dcm.DataSet {
	h := &dcm.DataSet{}
	h.SetStrings(dcm.PatientID, "LO", id)
	h.SetStrings(dcm.PatientName, "PN", name)
	h.SetStrings(dcm.PatientBirthDate, "DA", birth)
	h.SetStrings(dcm.PatientSex, "CS", sex)
	return h
}

func TestOne(t *testing.T) {
	t.Parallel()
	first := image("Ab 12", "Doe^Jane", "19590203", "F")
	issued := func(by string) *dcm.DataSet {
		h := image("Ab 12", "Doe^Jane", "19590203", "F")
		h.SetStrings(dcm.IssuerOfPatientID, "LO", by)
		return h
	}
	first.SetStrings(dcm.IssuerOfPatientID, "LO", "HOSP-A")
	for _, c := range []struct {
		name  string
		other *dcm.DataSet
		want  []string // attributes that differ
	}{
		{"the same", first, nil},
		{"padding", image(" Ab  12 \x00", "Doe^Jane ", "19590203 ", "F "), nil},
		{"case", image("AB 12", "DOE^JANE", "19590203", "f"), nil},
		{"empty components", image("Ab 12", "Doe^Jane^^^", "19590203", "F"), nil},
		{"comma in the name", image("Ab 12", "Doe, Jane", "19590203", "F"), nil},
		{"ideographic name beside", image("Ab 12", "Doe^Jane=山田^太郎", "1959.02.03", "F"), nil},
		{"nothing given", image("", "", "", ""), nil},
		{"dummies", image("Ab 12", "Doe^Jane", "00000000", "O"), nil},
		{"another ID", image("Ab 13", "Doe^Jane", "19590203", "F"), []string{"Patient ID"}},
		{"the same issuer", issued("Hosp-A "), nil},
		{"another issuer", issued("HOSP-B"), []string{"Issuer of Patient ID"}},
		{"another name", image("Ab 12", "Roe^Jane", "19590203", "F"), []string{"Patient's Name"}},
		{"another birth date", image("Ab 12", "Doe^Jane", "19590204", "F"), []string{"Patient's Birth Date"}},
		{"another sex", image("Ab 12", "Doe^Jane", "19590203", "M"), []string{"Patient's Sex"}},
		{"another patient", image("7", "Roe^Jim", "20000101", "M"), []string{"Patient ID", "Patient's Name", "Patient's Birth Date", "Patient's Sex"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := Differences(first, c.other); strings.Join(got, ", ") != strings.Join(c.want, ", ") {
				t.Errorf("differ in %q, want %q", got, c.want)
			}
			err := One([]*dcm.DataSet{c.other, first, first})
			if c.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refusal := new(finding.Refusal)
			if !errors.As(err, &refusal) || refusal.Code != finding.SeveralPatients || !strings.HasSuffix(refusal.Reason, ".") {
				t.Fatalf("got %v", err)
			}
			for _, name := range c.want {
				if !strings.Contains(refusal.Reason, name+" (2 values, in 2, 1 images)") {
					t.Errorf("%q does not say that %s differs in 2 and 1 images", refusal.Reason, name)
				}
			}
			for _, value := range []string{"12", "Doe", "DOE", "Roe", "ROE", "1959"} {
				if strings.Contains(refusal.Reason, value) {
					t.Errorf("%q names a value", refusal.Reason)
				}
			}
		})
	}
}
