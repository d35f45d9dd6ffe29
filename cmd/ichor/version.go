package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"ichor/pipeline/finding"
)

// version is the release, as in the top entry of CHANGELOG.md. The commit is read from the build.
const version = "0.2.0"

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  ichor version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "ichor %s\n%s\n", versionText(), finding.Disclaimer)
			return err
		},
	}
}

func versionText() string {
	if c := commit(); c != "" {
		return version + " (" + c + ")"
	}
	return version
}

// commit is that of the source, "" where the build does not know it.
func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return s.Value[:12]
			}
		}
	}
	return ""
}
