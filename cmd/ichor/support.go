package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ichor/config"
)

func newSupport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "support FILE",
		Short: "Collect what someone needs to help, without patient data",
		Long: "support writes a compressed tar file with the versions, the configuration without secrets, the results of 'ichor check',\n" +
			"the metrics of the running node, the sizes of its folders, its unit and its log. It contains no attribute of a patient, no\n" +
			"UID of a study and no image. AE titles and addresses of peers are in it. Look at it before you send it.",
		Example: "  sudo ichor support ichor-support.tar.gz",
		Args:    cobra.ExactArgs(1),
	}
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		parts := collect(cmd.Context(), s)
		if err := writeParts(args[0], parts); err != nil {
			return err
		}
		for _, p := range parts {
			fmt.Fprintf(cmd.OutOrStdout(), "%-20s %s\n", p.name, p.what)
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "written to %s\n", args[0])
		return err
	}
	return cmd
}

// part is one file for support. What could not be had is in it in words.
type part struct {
	name, what string
	text       []byte
}

// collect gathers the parts. A configuration that is refused is a part too.
func collect(ctx context.Context, s *settings) []part {
	program, err := os.Executable()
	if err != nil {
		program = "ichor"
	}
	check := []string{program, "check", "--json", "--offline"}
	if s.file != "" {
		check = append(check, "--config", s.file)
	}
	parts := []part{
		{"about.txt", "versions and machine", []byte(aboutHere())},
		{"check.json", "ichor check --offline", output(ctx, check...)},
		{"unit.txt", "systemctl show and cat", append(output(ctx, "systemctl", "show", "ichor.service"), output(ctx, "systemctl", "cat", "ichor.service", "ichor.socket", "ichor-tls.socket")...)},
		{"log.txt", "the newest 20,000 lines of the journal", output(ctx, "journalctl", "--unit", "ichor", "--lines", "20000", "--no-pager", "--output", "short-iso-precise")},
	}
	c, err := s.load()
	if err != nil {
		return append(parts, part{"configuration.json", "refused", []byte(err.Error() + "\n")})
	}
	text, err := json.MarshalIndent(c.WithoutSecrets(), "", " ")
	if err != nil {
		text = []byte(err.Error())
	}
	return append(parts, part{"configuration.json", "every setting in use, without secrets", text},
		part{"sizes.txt", "folders of the state", []byte(sizes(c.State))},
		part{"ready.txt", "/readyz of the node", asked(c, "/readyz")},
		part{"metrics.txt", "/metrics of the node", asked(c, "/metrics")},
	)
}

func aboutHere() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ichor %s, %s, %d processors, %s\n", versionText(), runtime.Version(), runtime.NumCPU(), time.Now().Format(time.RFC3339))
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		fmt.Fprintf(&b, "%s %s %s\n", unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:]))
	}
	for _, path := range []string{"/etc/os-release", "/proc/meminfo", "/proc/loadavg", "/proc/pressure/io", "/proc/pressure/memory"} {
		text, err := os.ReadFile(path)
		if err != nil {
			text = []byte(err.Error())
		}
		fmt.Fprintf(&b, "\n%s\n%s\n", path, text)
	}
	return b.String()
}

// output runs a command and returns what it printed.
func output(ctx context.Context, command ...string) []byte {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil && len(out) == 0 {
		return []byte(err.Error() + "\n")
	}
	return out
}

// asked returns the answer of the running node for a path.
func asked(c config.Config, path string) []byte {
	n, err := newClient(c)
	if err == nil {
		var text []byte
		if text, err = n.text(path); err == nil {
			return text
		}
	}
	return []byte(err.Error() + "\n")
}

// sizes lists number and size of the files in each folder of the state, without names of files.
func sizes(dir string) string {
	type sum struct {
		files int
		bytes int64
	}
	all, order := map[string]sum{}, []string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		name, _, below := strings.Cut(filepath.ToSlash(name), "/")
		if below {
			name += "/"
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, known := all[name]; !known {
			order = append(order, name)
		}
		all[name] = sum{all[name].files + 1, all[name].bytes + info.Size()}
		return nil
	})
	var b strings.Builder
	for _, name := range order {
		fmt.Fprintf(&b, "%-24s %8d files %12.1f MB\n", name, all[name].files, float64(all[name].bytes)/1e6)
	}
	if err != nil {
		fmt.Fprintln(&b, err)
	}
	return b.String()
}

// writeParts writes a new compressed tar file.
func writeParts(path string, parts []part) (err error) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zip)
	for _, p := range parts {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: "ichor-support/" + p.name, Size: int64(len(p.text)), Mode: 0o600, ModTime: time.Now()}
		if err := archive.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(archive, bytes.NewReader(p.text)); err != nil {
			return err
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		return err
	}
	return writeDurable(path, &packed)
}
