package selection

import (
	"fmt"
	"strconv"

	"ichor/scp/dcm"
)

// ageYears returns the age of the patient at the study, from Patient's Age (0010,1010), or from birth date and study date, and the
// attributes it is from: "" if neither gives a plausible age. De-identification tools write invalid dates: the same one for birth
// and study, or the first day of a calendar.
func ageYears(h *dcm.DataSet) (years float64, from string) {
	years, ok := ageString(h.String(dcm.PatientAge))
	if ok {
		from = fmt.Sprintf("Patient's Age %s", dcm.PatientAge)
	}
	if years > 0 {
		return years, from
	}
	if age, on, ok := sinceBirth(h); ok {
		return age, fmt.Sprintf("Patient's Birth Date %s and the date of the study %s", dcm.PatientBirthDate, on)
	}
	return years, from
}

// sinceBirth returns the years from birth date to study date, and the attribute of the study date.
func sinceBirth(h *dcm.DataSet) (years float64, day dcm.Tag, ok bool) {
	born, isDate := dcm.ParseDate(h.String(dcm.PatientBirthDate))
	if !isDate || born.Year() <= 1900 || born.Year() == 1901 && born.YearDay() == 1 {
		return 0, 0, false
	}
	for _, t := range []dcm.Tag{dcm.StudyDate, dcm.AcquisitionDate, dcm.SeriesDate, dcm.ContentDate} {
		if on, isDate := dcm.ParseDate(h.String(t)); isDate {
			years = on.Sub(born).Hours() / 24 / 365.2425
			return years, t, years > 0 && years <= 130
		}
	}
	return 0, 0, false
}

// ageString parses a value of VR AS: three digits and D, W, M or Y (PS3.5 §6.2).
func ageString(s string) (years float64, ok bool) {
	if len(s) != 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:3], 10, 16)
	if err != nil {
		return 0, false
	}
	perYear, ok := map[byte]float64{'D': 365.2425, 'W': 365.2425 / 7, 'M': 12, 'Y': 1}[s[3]]
	if !ok || float64(n)/perYear > 130 {
		return 0, false
	}
	return float64(n) / perYear, true
}
