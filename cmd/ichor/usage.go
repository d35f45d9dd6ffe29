package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// oneLine returns the text of err on one line. Joined errors and errors from libraries can have several.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
	}
	return strings.Join(lines, "; ")
}

// rejected says why the library does not accept a command line. In the place of a count of arguments it names them, and in the
// place of what a function of Go could not parse, what to write.
func rejected(cmd *cobra.Command, err error) string {
	text := err.Error()
	if strings.Contains(text, "arg(s)") {
		return "the arguments do not fit; write '" + strings.TrimSuffix(cmd.UseLine(), " [flags]") + "'"
	}
	for parser, write := range map[string]string{
		": strconv.ParseInt": "write a whole number", ": strconv.ParseFloat": "write a number", ": strconv.ParseBool": "write true or false",
		": time: ": "write a time with its unit, such as 30s",
	} {
		if flag, _, ok := strings.Cut(text, parser); ok {
			return flag + ": " + write
		}
	}
	return text
}

// exitCode is the code of a command that has run as another process, which has said everything.
type exitCode int

func (e exitCode) Error() string { return "" }

// usageError is an invalid command line or configuration: exit code 2.
type usageError string

func (e usageError) Error() string { return string(e) }

// refusedConfig is a configuration with which a service cannot start. The unit restarts the service after every exit code
// except this one: a restart does not correct a file.
type refusedConfig struct{ error }

func (e refusedConfig) Unwrap() error { return e.error }
