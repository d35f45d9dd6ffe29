package state

import (
	"strings"
	"time"
	"unicode"

	"ichor/scp/dcm"
)

// Exam is who was scanned and when, as far as the header of an image says. It is stored only as keyed digests, see prior.go.
type Exam struct {
	PatientID, Issuer string
	BirthDate, Sex    string
	At                time.Time // local time of the scanner, without time zone; zero if unknown
	DayOnly           bool      // the time of day is not known
}

// ExamOf reads the header of an image. The time is that of the acquisition, or of the study if the acquisition has none.
func ExamOf(h *dcm.DataSet) Exam {
	e := Exam{PatientID: clean(h.String(dcm.PatientID)), Issuer: clean(h.String(dcm.IssuerOfPatientID)),
		BirthDate: clean(h.String(dcm.PatientBirthDate)), Sex: clean(h.String(dcm.PatientSex))}
	if born, ok := dcm.ParseDate(e.BirthDate); ok {
		e.BirthDate = born.Format("20060102")
	}
	at := clean(h.String(dcm.AcquisitionDateTime))
	day, clock := at, ""
	if len(at) >= 8 {
		day, clock = at[:8], at[8:]
	}
	for _, c := range [][2]string{{day, clock},
		{clean(h.String(dcm.AcquisitionDate)), clean(h.String(dcm.AcquisitionTime))},
		{clean(h.String(dcm.StudyDate)), clean(h.String(dcm.StudyTime))}} {
		t, ok := dcm.ParseDate(c[0])
		if !ok {
			continue
		}
		e.At, e.DayOnly = t, true
		if of, ok := timeOfDay(c[1]); ok {
			e.At, e.DayOnly = t.Add(of), false
			return e
		}
	}
	return e
}

// timeOfDay parses a TM, or the part of a DT after the day: HHMM, optionally with seconds and their fraction
// (PS3.5 Table 6.2-1).
func timeOfDay(s string) (time.Duration, bool) {
	s, _, _ = strings.Cut(s, "+")
	s, _, _ = strings.Cut(s, "-")
	s, _ = dcm.ParseTime(s)
	s, _, _ = strings.Cut(s, ".")
	layout := map[int]string{4: "1504", 6: "150405"}[len(s)]
	t, err := time.Parse(layout, s)
	if layout == "" || err != nil {
		return 0, false
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second, true
}

func clean(s string) string { return strings.TrimSpace(strings.Trim(s, "\x00")) }

// named reports whether the patient ID can identify one person: it is not one that many people share after anonymisation, in
// emergencies or in tests.
func (e Exam) named() bool {
	letters := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToUpper(r)
		}
		return -1
	}, e.PatientID)
	if strings.Trim(letters, letters[:min(len(letters), 1)]) == "" { // empty, 0, 0000, XXX
		return false
	}
	for _, shared := range []string{"NA", "NIL", "NULL", "NONE", "NOID", "ID", "PATIENT", "PATIENTID", "UNBEKANNT", "123", "1234", "12345", "123456"} {
		if letters == shared {
			return false
		}
	}
	for _, shared := range []string{"ANON", "UNKNOWN", "UNKN", "DEID", "TEST", "EMERGENCY", "TRAUMA", "NOTFALL", "DUMMY", "PHANTOM"} {
		if strings.HasPrefix(letters, shared) {
			return false
		}
	}
	return true
}
