package main

import "strings"

// oneLine is the text of err for an operator: joined errors, and those of libraries, may have several lines.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
	}
	return strings.Join(lines, "; ")
}

// usageError is a command line or a configuration that cannot be meant; exit code 2, at which systemd does not try again.
type usageError string

func (e usageError) Error() string { return string(e) }
