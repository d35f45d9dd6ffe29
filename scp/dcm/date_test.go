package dcm

import "testing"

func TestDatesAndTimes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"20260131": "20260131", "2026.01.31": "20260131", "2026-01-31": "20260131", "2026/01/31 ": "20260131",
		"": "", "2026.1.31": "", "31.01.2026": "", "00000000": "", "0000.00.00": "", "2026.13.01": "", "2026013": "", "20260131x": ""} {
		got := ""
		if day, ok := ParseDate(in); ok {
			got = day.Format("20060102")
		}
		if got != want {
			t.Errorf("date %q is %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"101530": "101530", "10": "10", "1015": "1015", "101530.5": "101530.5", "10:15:30": "101530", "10:15": "1015",
		"10:15:30.123456": "101530.123456", "": "", "25:00:00": "", "10:1530": "", "101530.1234567": "", "1015.5": "", "::": "", "ab:cd": "", "10.15.30": ""} {
		if got, _ := ParseTime(in); got != want {
			t.Errorf("time %q is %q, want %q", in, got, want)
		}
	}
}
