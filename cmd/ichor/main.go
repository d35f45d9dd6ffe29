// Command ichor is a DICOM node that segments intracranial hemorrhage on head CT and sends the result back.
//
// Research use only. Not for clinical use.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"ichor/pipeline/finding"
)

// Exit codes of every command. A crash ends with none of them, see neverDump.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitConfig = 78 // EX_CONFIG of sysexits.h: a service cannot start with its configuration
)

func main() {
	// The first signal drains; a second one ends the process immediately (default action).
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr *os.File) int {
	started := false
	root := newRoot(&started)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(stderr, "ichor: interrupted")
		return exitFailed
	case !started: // cobra rejected the command line before running a command
		fmt.Fprintf(stderr, "ichor: %s; see '%s --help'\n", rejected(cmd, err), cmd.CommandPath())
		return exitUsage
	case errors.As(err, new(refusedConfig)):
		fmt.Fprintf(stderr, "ichor: %v\n", err)
		return exitConfig
	case errors.As(err, new(usageError)):
		fmt.Fprintf(stderr, "ichor: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "ichor: %s\n", oneLine(err))
	return exitFailed
}

func newRoot(started *bool) *cobra.Command {
	root := &cobra.Command{
		Use:   "ichor",
		Short: "Segment intracranial hemorrhage on head CT, as a DICOM node",
		Long: "ichor receives head CT over DICOM, segments intracranial hemorrhage by subtype, and sends a DICOM\n" +
			"segmentation, secondary captures and a structured report back to the PACS.\n\n" + finding.Disclaimer,
		Example:           "  ichor demo\n  ichor serve --config /etc/ichor/ichor.yaml\n  ichor analyze study/ --out results/",
		Version:           versionText(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRun:  func(*cobra.Command, []string) { *started = true },
		Args:              cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return usageError("name a command")
		},
	}
	root.AddCommand(newVersion())
	root.SetVersionTemplate("ichor {{.Version}}\n" + finding.Disclaimer + "\n")
	root.AddCommand(newServe(), newWorker(), newDemo(), newAnalyze(), newSelect(), newSample(), newSend(), newEcho(), newStatus(), newRetry(), newReplay(), newDeadLetters(), newCanary(), newEvents(), newSpool(), newCheck(), newScore(), newModels(), newLoad(), newBackup(), newRestore(), newSupport(), newManual())
	completeFlags(root)
	return root
}

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
