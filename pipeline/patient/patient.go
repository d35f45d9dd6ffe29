// Package patient checks whether images belong to one patient. It ignores differences of form: case, padding, empty name
// components, carets or spaces between them, dots in a date. It ignores missing values.
package patient

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

// attributes identify a patient (PS3.3 §C.7.1.1): an ID is of one patient only within its issuer. of returns the value in the form in which it is compared.
var attributes = []struct {
	name string
	of   func(*dcm.DataSet) string
}{
	{"Patient ID", func(h *dcm.DataSet) string { return letters(h.String(dcm.PatientID), " ") }},
	{"Issuer of Patient ID", func(h *dcm.DataSet) string { return letters(h.String(dcm.IssuerOfPatientID), " ") }},
	{"Patient's Name", func(h *dcm.DataSet) string {
		alphabetic, _, _ := strings.Cut(h.String(dcm.PatientName), "=") // PS3.5 §6.2.1: the same name in other scripts follows
		return letters(alphabetic, " ^,.")
	}},
	{"Patient's Birth Date", func(h *dcm.DataSet) string {
		day := letters(h.String(dcm.PatientBirthDate), " .-/")
		if day = strings.ReplaceAll(day, " ", ""); len(day) != 8 || strings.Trim(day, "0") == "" {
			return ""
		}
		return day
	}},
	{"Patient's Sex", func(h *dcm.DataSet) string {
		if sex := letters(h.String(dcm.PatientSex), " "); strings.HasPrefix(sex, "M") || strings.HasPrefix(sex, "F") {
			return sex[:1]
		}
		return "" // many sites use O for unknown
	}},
}

// letters returns s in capitals, with one space in place of each run of separators.
func letters(s, separators string) string {
	return strings.Join(strings.FieldsFunc(strings.ToUpper(s), func(r rune) bool {
		return r == 0 || unicode.IsSpace(r) || strings.ContainsRune(separators, r)
	}), " ")
}

// Differences returns the names of the attributes that differ between two images.
func Differences(a, b *dcm.DataSet) (names []string) {
	for _, attribute := range attributes {
		if x, y := attribute.of(a), attribute.of(b); x != "" && y != "" && x != y {
			names = append(names, attribute.name)
		}
	}
	return names
}

// One checks that all images belong to one patient. The error is a *finding.Refusal with code SeveralPatients. It names the
// attributes that differ and the numbers of images, but no values.
func One(images []*dcm.DataSet) error {
	var differ []string
	for _, a := range attributes {
		var values []string // in order of appearance, so that the reason is the same every time
		count := map[string]int{}
		for _, h := range images {
			v := a.of(h)
			if v == "" {
				continue
			}
			if count[v]++; count[v] == 1 {
				values = append(values, v)
			}
		}
		if len(values) < 2 {
			continue
		}
		slices.SortStableFunc(values, func(x, y string) int { return count[y] - count[x] })
		var numbers []string
		for _, v := range values[:min(len(values), 4)] {
			numbers = append(numbers, fmt.Sprint(count[v]))
		}
		if len(values) > 4 {
			numbers = append(numbers, "…")
		}
		differ = append(differ, fmt.Sprintf("%s (%d values, in %s images)", a.name, len(values), strings.Join(numbers, ", ")))
	}
	if len(differ) == 0 {
		return nil
	}
	return finding.Refuse(finding.SeveralPatients, "The images of the study belong to several patients. Different values: %s.\n"+
		"Correct the identification in the archive and send the whole study again.", strings.Join(differ, "; "))
}
