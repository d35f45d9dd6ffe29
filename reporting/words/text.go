package words

import (
	"strings"
	"unicode"
)

// Text returns s for a text VR of n characters: without control characters and backslashes, and cut to n runes.
func Text(s string, n int) string {
	r := []rune(strings.TrimSpace(Clean(s)))
	if len(r) > n {
		r = r[:n]
	}
	return strings.TrimSpace(string(r))
}

// Clean replaces characters that a text VR of one line must not contain (PS3.5 §6.1.2.3, §6.2).
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\\' || r == unicode.ReplacementChar:
			return '?'
		case unicode.IsControl(r):
			return ' '
		}
		return r
	}, s)
}
