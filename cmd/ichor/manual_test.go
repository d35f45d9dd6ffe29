package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestManual: every command that help lists has a man page that man can format, every setting is on the page of the
// configuration, and the same build gives the same bytes.
func TestManual(t *testing.T) {
	t.Parallel()
	first, second := t.TempDir(), t.TempDir()
	for _, dir := range []string{first, second} {
		if code, _, stderr := command(t, "manual", "--out", dir); code != 0 {
			t.Fatalf("code %d: %s", code, stderr)
		}
	}
	started := false
	pages := []string{"man5/ichor.yaml.5", "completions/ichor.bash", "completions/_ichor", "completions/ichor.fish"}
	for _, c := range newRoot(&started).Commands() {
		if c.IsAvailableCommand() {
			pages = append(pages, "man1/ichor-"+c.Name()+".1")
		}
	}
	for _, name := range pages {
		a, err := os.ReadFile(filepath.Join(first, name))
		if err != nil {
			t.Error(err)
			continue
		}
		b, err := os.ReadFile(filepath.Join(second, name))
		if err != nil || string(a) != string(b) {
			t.Errorf("%s differs between two runs, %v", name, err)
		}
	}
	for page, word := range map[string]string{"man5/ichor.yaml.5": "quiet_period: 30s", "man1/ichor-serve.1": "ichor serve --config"} {
		path := peer(t, "man", "man-db")
		cmd := exec.CommandContext(t.Context(), path, "--warnings", "-l", filepath.Join(first, page))
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=120", "GROFF_NO_SGR=1")
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil || errs.Len() > 0 || !strings.Contains(string(out), word) {
			t.Errorf("%s: %v, %s\n%s", page, err, errs.String(), out)
		}
	}
}

// TestCompletion: flags with a known set of values complete these, and others never file names.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line []string
		want string
	}{
		{[]string{"demo", "--study", ""}, "mixed\n"},
		{[]string{"sample", "--study", "mi"}, "mixed\n"},
		{[]string{"serve", "--provider", ""}, "cuda\n"},
		{[]string{"replay", "--destination", ""}, ":4\n"}, // ShellCompDirectiveNoFileComp
		{[]string{"status", ""}, ":4\n"},
		{[]string{"select", ""}, ":0\n"}, // files
	} {
		code, stdout, stderr := command(t, append([]string{"__complete"}, c.line...)...)
		if code != 0 || !strings.Contains(stdout, c.want) {
			t.Errorf("%v: code %d, no %q in %q %s", c.line, code, c.want, stdout, stderr)
		}
	}
}
