package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ichor/config"
)

// settings are the flags that override keys of the configuration.
type settings struct {
	cmd  *cobra.Command
	file string
	keys map[string]string // flag name -> dotted key
}

// withSettings adds --config and one flag for each key to cmd.
func withSettings(cmd *cobra.Command, keys map[string]string) *settings {
	s := &settings{cmd: cmd, keys: keys}
	cmd.Flags().StringVar(&s.file, "config", "", "configuration `FILE` (default "+config.DefaultPath+" if it exists)")
	for flag, key := range keys {
		cmd.Flags().String(flag, "", config.Doc(key)+"; overrides "+key+" of the configuration")
	}
	return s
}

// load reads the configuration and applies the given flags. Any error is a usageError, with a line for each fault.
func (s *settings) load() (config.Config, error) {
	c, err := s.read()
	return c, asUsage(err)
}

// asUsage makes a usageError of an error of read, with a line for each fault.
func asUsage(err error) error {
	if err == nil {
		return nil
	}
	if faults := new(config.Error); errors.As(err, &faults) {
		return usageError(err.Error())
	}
	return usageError(oneLine(err))
}

func (s *settings) read() (config.Config, error) {
	overrides := map[string]any{}
	for flag, key := range s.keys {
		if f := s.cmd.Flags().Lookup(flag); f.Changed {
			if why := config.Misread(key, f.Value.String()); why != "" {
				return config.Config{}, fmt.Errorf("--%s %q: write %s", flag, f.Value, why)
			}
			overrides[key] = f.Value.String()
		}
	}
	return config.Load(s.file, overrides)
}

// engineFlags are the flags of a command that runs networks.
var engineFlags = map[string]string{"bundle": "analysis.bundle", "library": "analysis.library", "provider": "analysis.provider",
	"precision": "analysis.precision", "operating-point": "analysis.operating_point"}

// workerFlags are the flags of worker.
var workerFlags = withEngine(map[string]string{"queue": "queue.url", "http": "http.listen", "log-level": "log.level"})

// serveFlags are the flags of serve and check, so that check can test exactly what serve would use.
var serveFlags = withEngine(map[string]string{"state": "state", "listen": "dicom.listen", "http": "http.listen", "log-level": "log.level"})

// withEngine adds engineFlags.
func withEngine(flags map[string]string) map[string]string {
	maps.Copy(flags, engineFlags)
	return flags
}

func levelOf(c config.Log) (level slog.Level) {
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return slog.LevelInfo // Validate has already rejected invalid levels
	}
	return level
}

// newLogger returns a logger whose level can be changed by level.
func newLogger(c config.Log, level *slog.LevelVar, w io.Writer) *slog.Logger {
	level.Set(levelOf(c))
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
