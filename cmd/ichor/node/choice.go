package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ichor/config"
	"ichor/models/bundle"
)

// Choice is one entry of the history of 'ichor models use'.
type Choice struct {
	At     time.Time `json:"at"`
	User   string    `json:"user,omitempty"`
	Bundle string    `json:"bundle"` // name or folder, as for analysis.bundle; empty: the one shipped with ichor
	Name   string    `json:"name"`   // and version, of the manifest
	Digest string    `json:"digest"`
}

func choicesPath(c config.Config) string { return filepath.Join(c.State, "bundle.json") }

// Choices returns the history, the choice in use last.
func Choices(c config.Config) (all []Choice, err error) {
	text, err := os.ReadFile(choicesPath(c))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("history of bundles %s: %w; remove the file to use analysis.bundle", choicesPath(c), err)
	}
	return all, nil
}

// WithChoice returns the configuration with the bundle that 'ichor models use' chose. analysis.bundle comes first.
func WithChoice(c config.Config) (config.Config, error) {
	if c.Analysis.Bundle != "" {
		return c, nil
	}
	all, err := Choices(c)
	if err == nil && len(all) > 0 {
		c.Analysis.Bundle = all[len(all)-1].Bundle
	}
	return c, err
}

// Choose verifies a bundle and adds it to the history.
func Choose(c config.Config, name, user string) (Choice, error) {
	if c.Analysis.Bundle != "" {
		return Choice{}, fmt.Errorf("analysis.bundle is %s in the configuration, which comes first; remove it there to switch bundles by this command", c.Analysis.Bundle)
	}
	all, err := Choices(c)
	if err != nil {
		return Choice{}, err
	}
	a := c.Analysis
	a.Bundle = name
	path, err := BundlePath(a)
	if err != nil {
		return Choice{}, err
	}
	b, err := bundle.Open(path)
	if err != nil {
		return Choice{}, err
	}
	if filepath.Base(name) != name || name == "." { // a folder
		if name, err = filepath.Abs(name); err != nil {
			return Choice{}, err
		}
	}
	next := Choice{now(), user, name, b.Name + " " + b.Version, b.Digest}
	text, err := json.MarshalIndent(append(all, next), "", "  ")
	if err != nil {
		return Choice{}, err
	}
	if err := os.MkdirAll(c.State, 0o750); err != nil {
		return Choice{}, err
	}
	fresh := choicesPath(c) + ".new"
	if err := os.WriteFile(fresh, append(text, '\n'), 0o644); err != nil {
		return Choice{}, err
	}
	return next, os.Rename(fresh, choicesPath(c))
}
