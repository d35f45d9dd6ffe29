package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/doctor"
	"ichor/config"
	"ichor/reporting/web"
)

// serviceUser is the user of the unit.
const serviceUser = "ichor"

func newCheck() *cobra.Command {
	var asJSON, example, offline bool
	var as string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check configuration, disk, library, models and peers, and say how to fix problems",
		Long: "check examines the configuration and what the node needs: each line is ok, warning or FAILED, and says what to do.\n" +
			"Beside a running node it asks that node instead of trying its ports. Called by root it checks with the rights of the\n" +
			"service user, if there is one.",
		Example: "  ichor check --config /etc/ichor/ichor.yaml\n  ichor check --example >ichor.yaml\n" +
			"  ichor check --offline   # do not connect to the destinations",
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().BoolVar(&example, "example", false, "print a configuration with every key and its default")
	cmd.Flags().BoolVar(&offline, "offline", false, "do not connect to the destinations")
	cmd.Flags().StringVar(&as, "user", "", "as root: check with the rights of the user `NAME` (default "+serviceUser+", if there is one)")
	s := withSettings(cmd, serveFlags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		w := cmd.OutOrStdout()
		if example {
			_, err := io.WriteString(w, config.Example())
			return err
		}
		if u, err := serviceAccount(as); err != nil {
			return usageError(err.Error())
		} else if u != nil {
			return again(cmd.Context(), u, w, cmd.ErrOrStderr())
		}
		var lines []doctor.Line
		c, err := s.read()
		if err != nil {
			lines = faultLines(err)
		} else {
			lines = doctor.Examine(cmd.Context(), examination(cmd.Context(), c, offline))
		}
		if asJSON {
			if err := printJSON(w, lines); err != nil {
				return err
			}
		} else if err == nil {
			printChecks(w, lines)
		}
		switch failed := count(lines, doctor.Failed); {
		case err != nil && !asJSON: // the faults are the message
			return asUsage(err)
		case err != nil:
			return usageError("the configuration has faults")
		case failed > 0:
			return fmt.Errorf("%d of %d checks failed", failed, len(lines))
		}
		return nil
	}
	return cmd
}

// examination asks the node that runs with this configuration, if one does.
func examination(ctx context.Context, c config.Config, offline bool) doctor.Options {
	o := doctor.Options{Config: c, Offline: offline}
	if c.HTTP.Listen == "" {
		return o
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", c.HTTP.Listen)
	if err != nil {
		return o
	}
	_ = conn.Close()
	o.Node = func(context.Context) (n web.Node, err error) {
		client, err := newClient(c)
		if err == nil {
			err = client.get("node", &n)
		}
		return n, err
	}
	return o
}

// faultLines are the faults of a configuration as lines of the report.
func faultLines(err error) (lines []doctor.Line) {
	all := new(config.Error)
	if !errors.As(err, &all) {
		return []doctor.Line{{What: "configuration", Grade: doctor.Failed, Detail: oneLine(err)}}
	}
	for _, f := range all.Faults {
		lines = append(lines, doctor.Line{What: "configuration", Grade: doctor.Failed, Detail: f.String()})
	}
	return lines
}

func count(lines []doctor.Line, g doctor.Grade) (n int) {
	for _, l := range lines {
		if l.Grade == g {
			n++
		}
	}
	return n
}

func printChecks(w io.Writer, lines []doctor.Line) {
	marks := map[doctor.Grade]string{doctor.OK: "ok", doctor.Warning: "warning", doctor.Failed: "FAILED"}
	for _, l := range lines {
		fmt.Fprintf(w, "%-7s  %-18s %s\n", marks[l.Grade], l.What, l.Detail)
	}
}

// serviceAccount returns the user with whose rights to check, nil for those of the caller.
func serviceAccount(name string) (*user.User, error) {
	if os.Getuid() != 0 {
		if name != "" {
			return nil, errors.New("--user needs root")
		}
		return nil, nil
	}
	if name == "root" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if name == "" {
		if u, err = user.Lookup(serviceUser); err != nil {
			return nil, nil // not installed as a service
		}
	}
	if errors.Is(err, user.UnknownUserError(name)) {
		return nil, fmt.Errorf("--user %s: there is no such user; write the name of the service user, %s in the packages", name, serviceUser)
	}
	return u, err
}

// again runs this command line with the rights of another user: file access is decided by the kernel for the whole process.
func again(ctx context.Context, u *user.User, stdout, stderr io.Writer) error {
	id := func(text string) uint32 {
		n, _ := strconv.ParseUint(text, 10, 32) // the user database has numbers
		return uint32(n)
	}
	credential := &syscall.Credential{Uid: id(u.Uid), Gid: id(u.Gid)}
	groups, err := u.GroupIds()
	if err != nil {
		return err
	}
	for _, g := range groups {
		credential.Groups = append(credential.Groups, id(g))
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", withoutUser(os.Args[1:])...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "HOME=") }), "HOME="+u.HomeDir)
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exitCode(exit.ExitCode())
	}
	if err != nil {
		return fmt.Errorf("as user %s: %w", u.Username, err)
	}
	return nil
}

// withoutUser drops --user NAME and --user=NAME.
func withoutUser(args []string) (left []string) {
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--user":
			i++
		case !strings.HasPrefix(args[i], "--user="):
			left = append(left, args[i])
		}
	}
	return left
}
