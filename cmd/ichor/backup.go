package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"ichor/config"
)

func newBackup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup of the running node",
		Long: "backup writes received studies, results, cases and their deliveries, and the configuration, to one tar file. The node goes\n" +
			"on; only its retention waits. The file contains patient data and the secrets of the configuration, so only its owner may\n" +
			"read it. Certificates, keys and password files that the configuration names are not in it. If the node is stopped, copy\n" +
			"its state folder instead.",
		Example: "  sudo ichor backup /mnt/backup/ichor.tar",
		Args:    cobra.ExactArgs(1),
	}
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n, err := running(s)
		if err != nil {
			return err
		}
		files, bytes, err := writeBackup(n, s, args[0])
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d files, %.1f MB, verified\n", args[0], files, float64(bytes)/1e6)
		return err
	}
	return cmd
}

// writeBackup writes the configuration and what the node sends, verifies it, and then gives the file its name.
func writeBackup(n client, s *settings, path string) (files int, bytes int64, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return 0, 0, fmt.Errorf("%s exists; name a new file", path)
	}
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err == nil {
			err = os.Rename(part, path)
		}
		if err != nil {
			os.Remove(part)
		}
	}()
	if err := addConfig(f, s.file); err != nil {
		return 0, 0, err
	}
	if err := n.stream("backup", f); err != nil {
		return 0, 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, 0, err
	}
	if bytes, err = f.Seek(0, io.SeekEnd); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return 0, 0, err
	}
	list, err := readBackup(f, func(_ string, r io.Reader) error { _, err := io.Copy(io.Discard, r); return err })
	return len(list.Files), bytes, err
}

// addConfig writes the configuration file as the first entry, without the end of a tar file. Without a file it writes nothing.
func addConfig(w io.Writer, path string) error {
	if path == "" {
		path = config.DefaultPath
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: configEntry, Size: int64(len(text)), Mode: 0o600}); err != nil {
		return err
	}
	_, err = archive.Write(text)
	return errors.Join(err, archive.Flush())
}
