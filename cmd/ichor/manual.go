package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"ichor/config"
)

// newManual is not listed: the build of the packages calls it.
func newManual() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:    "manual --out DIR",
		Short:  "Write the man pages and the shell completions",
		Hidden: true,
		Args:   cobra.NoArgs,
	}
	cmd.Flags().StringVar(&out, "out", "", "`FOLDER` for man1, man5 and completions")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if out == "" {
			return usageError("give a folder for the pages: --out FOLDER")
		}
		return writeManual(cmd.Root(), out)
	}
	return cmd
}

// writeManual writes one page for each command, one for the configuration file, and the completions of three shells. The
// same source gives the same bytes: pages carry no date of the build.
func writeManual(root *cobra.Command, out string) error {
	pages, formats, shells := filepath.Join(out, "man1"), filepath.Join(out, "man5"), filepath.Join(out, "completions")
	for _, dir := range []string{pages, formats, shells} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	root.DisableAutoGenTag = true
	// The default command for completions exists only after the first run. It has pages of its own for each shell, which say
	// nothing to a user whose package installs the completions.
	root.CompletionOptions.DisableDefaultCmd = true
	header := &doc.GenManHeader{Section: "1", Source: "ichor " + version, Manual: "ichor", Date: &released}
	return errors.Join(
		doc.GenManTree(root, header, pages),
		os.WriteFile(filepath.Join(formats, "ichor.yaml.5"), []byte(formatPage(config.Example())), 0o644),
		root.GenBashCompletionFileV2(filepath.Join(shells, "ichor.bash"), true),
		root.GenZshCompletionFile(filepath.Join(shells, "_ichor")),
		root.GenFishCompletionFile(filepath.Join(shells, "ichor.fish"), true),
	)
}

// formatPage is the man page of the configuration file, in roff.
func formatPage(example string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH ICHOR.YAML 5 %q %q ichor\n", released.Format("Jan 2006"), "ichor "+version)
	b.WriteString(".SH NAME\nichor.yaml \\- configuration of ichor\n.SH SYNOPSIS\n/etc/ichor/ichor.yaml\n.SH DESCRIPTION\n" +
		"Every setting with its default. Unknown keys are errors. A setting can also be given as an environment variable.\n" +
		"\\fBichor check\\fR(1) says what is wrong with a file. \\fBsystemctl reload ichor\\fR reads a changed file.\n.PP\n.nf\n")
	for line := range strings.Lines(example) {
		line = strings.ReplaceAll(line, `\`, `\e`)
		line = strings.ReplaceAll(line, "-", `\-`)
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		b.WriteString(line)
	}
	b.WriteString(".fi\n.SH SEE ALSO\n\\fBichor\\fR(1), \\fBichor-check\\fR(1), \\fBichor-serve\\fR(1)\n")
	return b.String()
}
