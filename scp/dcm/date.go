package dcm

import (
	"strings"
	"time"
)

// ParseDate reads a DA, YYYYMMDD, or one of its older form, YYYY.MM.DD (PS3.5 §6.2, ACR-NEMA), which some devices write with
// other signs between the parts.
func ParseDate(s string) (time.Time, bool) {
	for _, form := range []string{"20060102", "2006.01.02", "2006-01-02", "2006/01/02"} {
		if day, err := time.Parse(form, strings.TrimSpace(s)); err == nil {
			return day, true
		}
	}
	return time.Time{}, false
}

// ParseTime reads a TM, HHMMSS.FFFFFF of which trailing parts may be missing, or one of its older form, HH:MM:SS.FFFFFF, and
// returns the present form (PS3.5 §6.2).
func ParseTime(s string) (string, bool) {
	s = strings.TrimSpace(s)
	whole, fraction, point := strings.Cut(s, ".")
	if len(whole) == len("15:04") && whole[2] == ':' || len(whole) == len("15:04:05") && whole[2] == ':' && whole[5] == ':' {
		whole = strings.ReplaceAll(whole, ":", "")
	}
	if len(whole) != 2 && len(whole) != 4 && len(whole) != 6 || len(fraction) > 6 || fraction != "" && len(whole) != 6 {
		return "", false
	}
	if _, err := time.Parse("150405"[:len(whole)], whole); err != nil || strings.Trim(fraction, "0123456789") != "" {
		return "", false
	}
	if point {
		whole += "." + fraction
	}
	return whole, true
}
