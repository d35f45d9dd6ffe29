package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ichor/config"
)

// settings are the flags that a command shares with the configuration.
type settings struct {
	cmd  *cobra.Command
	file string
	keys map[string]string // name of a flag -> dotted key
}

// withSettings adds --config and one flag for each key to cmd.
func withSettings(cmd *cobra.Command, keys map[string]string) *settings {
	s := &settings{cmd: cmd, keys: keys}
	cmd.Flags().StringVar(&s.file, "config", "", "configuration `FILE` (default "+config.DefaultPath+" where it exists)")
	for flag, key := range keys {
		cmd.Flags().String(flag, "", "same as "+key+" in the configuration")
	}
	return s
}

// load reads the configuration with the flags that were given on top. Whatever is wrong with it is a usageError.
func (s *settings) load() (config.Config, error) {
	overrides := map[string]any{}
	for flag, key := range s.keys {
		if f := s.cmd.Flags().Lookup(flag); f.Changed {
			overrides[key] = f.Value.String()
		}
	}
	c, err := config.Load(s.file, overrides)
	if err != nil {
		return c, usageError(oneLine(err))
	}
	return c, nil
}

// engineFlags are the settings of a command that runs networks.
var engineFlags = map[string]string{"bundle": "analysis.bundle", "library": "analysis.library", "provider": "analysis.provider",
	"precision": "analysis.precision", "operating-point": "analysis.operating_point"}

// serveFlags are the settings of serve; check takes the same, so that what is to be served can be checked.
var serveFlags = map[string]string{
	"state": "state", "listen": "dicom.listen", "http": "http.listen", "log-level": "log.level",
	"bundle": "analysis.bundle", "library": "analysis.library", "provider": "analysis.provider", "precision": "analysis.precision",
	"operating-point": "analysis.operating_point",
}

func newLogger(c config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // Validate has refused what is no level
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// progress draws a bar on a terminal and nothing elsewhere.
func progress(total int, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions(total, progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
		progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetVisibility(term.IsTerminal(int(os.Stderr.Fd()))),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
}
