package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/scp/dcm/codec"
)

// checked is one line of the report.
type checked struct {
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

func newCheck() *cobra.Command {
	var asJSON, example, offline bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check configuration, disk, library, models and peers, and say how to fix problems",
		Example: "  ichor check --config /etc/ichor/ichor.yaml\n  ichor check --example >ichor.yaml\n" +
			"  ichor check --offline   # do not connect to the destinations",
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().BoolVar(&example, "example", false, "print a configuration with every key and its default")
	cmd.Flags().BoolVar(&offline, "offline", false, "do not connect to the destinations")
	s := withSettings(cmd, serveFlags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		w := cmd.OutOrStdout()
		if example {
			_, err := io.WriteString(w, config.Example())
			return err
		}
		c, err := s.load()
		if err != nil {
			return err
		}
		lines := surroundings(cmd.Context(), c, offline)
		failed := 0
		for _, l := range lines {
			if !l.OK {
				failed++
			}
		}
		if asJSON {
			err = printJSON(w, lines)
		} else {
			printChecks(w, lines)
		}
		if failed > 0 {
			return errors.Join(err, fmt.Errorf("%d of %d checks failed", failed, len(lines)))
		}
		return err
	}
	return cmd
}

func printChecks(w io.Writer, lines []checked) {
	for _, l := range lines {
		mark := "ok    "
		if !l.OK {
			mark = "FAILED"
		}
		fmt.Fprintf(w, "%s  %-14s %s\n", mark, l.What, l.Detail)
	}
}

// surroundings checks everything the node needs. Each failed check says what to do.
func surroundings(ctx context.Context, c config.Config, offline bool) []checked {
	var lines []checked
	note := func(what string, detail string, err error) {
		if err != nil {
			detail = oneLine(err)
		}
		lines = append(lines, checked{what, err == nil, detail})
	}
	note("configuration", "valid", nil) // Load has already rejected invalid ones
	detail, err := checkState(c)
	note("state folder", detail, err)
	detail, err = node.CheckMemory(os.DirFS("/"))
	note("memory", detail, err)
	for _, e := range node.Entrances(c.DICOM) {
		if e.Address == config.Systemd { // if the unit is enabled, systemd already holds the port
			note(e.Key, "passed by "+e.Unit+"; 'systemctl status "+e.Unit+"' shows whether it is active", nil)
			continue
		}
		note(e.Key, e.Address+" is free", checkPort(ctx, e.Address))
	}
	credentials, err := node.OpenCredentials(c, slog.New(slog.DiscardHandler))
	if err != nil {
		note("certificates", "", err)
	} else if credentials != nil {
		for _, e := range credentials.Expiries() {
			detail, err := e.Check(time.Now())
			note("certificate", detail, err)
		}
	}
	if c.HTTP.Listen != "" {
		note("http.listen", c.HTTP.Listen+" is free", checkPort(ctx, c.HTTP.Listen))
	}
	detail, err = checkModels(ctx, c)
	note("models", detail, err)
	note("transfer syntaxes", checkCodecs(ctx), nil)
	if len(c.Destinations) == 0 {
		note("destinations", "none: results stay in the state folder", nil)
	}
	for _, d := range c.Destinations {
		if offline {
			continue
		}
		if d.URL != "" {
			note("destination", fmt.Sprintf("%s (%s) answers", d.Name, d.URL), node.Probe(ctx, d))
			continue
		}
		p := peerFlags{called: d.AETitle, calling: c.DICOM.AETitle, timeout: 10 * time.Second, identity: node.Identity(d)}
		if d.TLS && credentials != nil {
			p.security = credentials.Client(d.ServerName)
		} else if d.TLS {
			continue // the problem with the certificates is already in the report
		}
		note("destination", fmt.Sprintf("%s (%s, %s) answers", d.Name, d.AETitle, d.Address), p.echo(ctx, d.Address))
	}
	return lines
}

// checkState writes a test file and compares the free space with the reserve.
func checkState(c config.Config) (string, error) {
	if err := os.MkdirAll(c.State, 0o750); err != nil {
		return "", fmt.Errorf("%w; make it writable for this user, or set state to another folder", err)
	}
	f, err := os.CreateTemp(c.State, ".check-*")
	if err != nil {
		return "", fmt.Errorf("%w; make it writable for this user, or set state to another folder", err)
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return "", err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(c.State, &fs); err != nil {
		return "", fmt.Errorf("%s: %w", c.State, err)
	}
	free := fs.Bavail * uint64(fs.Bsize) >> 20
	if free < uint64(c.DICOM.ReserveMiB) {
		return "", fmt.Errorf("%s: %d MiB free, below dicom.reserve_mib %d; free disk space", c.State, free, c.DICOM.ReserveMiB)
	}
	return fmt.Sprintf("%s is writable, %d GiB free", c.State, free>>10), nil
}

func checkPort(ctx context.Context, address string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("%w; is a node running already? stop it, or choose another port", err)
	}
	return l.Close()
}

// checkCodecs says which transfer syntaxes can be decoded. Without the JPEG 2000 library the node does not offer JPEG
// 2000, and senders convert.
func checkCodecs(ctx context.Context) string {
	d, missing := codec.Detect(ctx)
	detail := fmt.Sprintf("%d are offered", len(d.TransferSyntaxes()))
	if missing != nil {
		detail += "; JPEG 2000 and HTJ2K are not: " + oneLine(missing)
	}
	return detail
}

func checkModels(ctx context.Context, c config.Config) (string, error) {
	e, err := node.OpenEngine(ctx, c.Analysis)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s reproduces its references on %s", e.Bundle.Name, e.Bundle.Version, c.Analysis.Provider), e.Close()
}
