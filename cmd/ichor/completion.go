package main

import (
	"strings"

	"github.com/spf13/cobra"

	"ichor/pipeline/phantom"
)

// values are what a shell completes for flags with a fixed set of values.
var values = map[string][]string{
	"provider": {"cpu", "openvino", "cuda", "tensorrt"}, "precision": {"float32", "int8"},
	"operating-point": {"balanced", "sensitive", "specific"}, "log-level": {"debug", "info", "warn", "error"},
}

// completeFlags adds completion to flags of cmd and its subcommands. Flags whose values are neither files nor in a fixed set
// complete nothing, in place of the file names that a shell would offer.
func completeFlags(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		completeFlags(c)
	}
	for _, flag := range []string{"provider", "precision", "operating-point", "log-level", "study", "destination", "limit", "timeout", "called", "calling", "listen", "http", "token"} {
		if cmd.Flags().Lookup(flag) == nil {
			continue
		}
		complete := cobra.NoFileCompletions
		if v := values[flag]; v != nil {
			complete = cobra.FixedCompletions(v, cobra.ShellCompDirectiveNoFileComp)
		} else if flag == "study" && cmd.Name() != "analyze" {
			complete = completeSamples
		}
		_ = cmd.RegisterFlagCompletionFunc(flag, complete) // fails only for a flag that is missing or was registered before
	}
	if strings.Contains(cmd.Use, "CASE") || cmd.Args != nil && cmd.Use == cmd.Name() {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
}

// completeSamples lists the names of the sample studies.
func completeSamples(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	samples, err := phantom.Samples()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, s := range samples {
		names = append(names, s.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
