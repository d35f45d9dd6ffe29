package main

import "strings"

// oneLine returns the text of err on one line. Joined errors and errors from libraries can have several.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
	}
	return strings.Join(lines, "; ")
}

// exitCode is the code of a command that has run as another process, which has said everything.
type exitCode int

func (e exitCode) Error() string { return "" }

// usageError is an invalid command line or configuration: exit code 2, after which systemd does not restart the service.
type usageError string

func (e usageError) Error() string { return string(e) }
