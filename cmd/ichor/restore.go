package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/node"
)

func newRestore() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Restore a backup into an empty state folder",
		Long: "restore verifies a backup and writes it to the state folder of the configuration, which must be empty; the node must not\n" +
			"run. The files get the owner of the folder. The configuration of the backup is written there too, as restored.yaml, for you\n" +
			"to compare. What was delivered after the backup is delivered again, under the same UIDs.",
		Example: "  sudo systemctl stop ichor\n  sudo ichor restore /mnt/backup/ichor.tar\n  sudo systemctl start ichor",
		Args:    cobra.ExactArgs(1),
	}
	s := withSettings(cmd, map[string]string{"state": "state"})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := s.load()
		if err != nil {
			return err
		}
		list, err := restore(args[0], c.State)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d files of ichor %s, backed up at %s, are in %s; start the node\n",
			len(list.Files), list.Version, list.Created.Local().Format("2006-01-02 15:04:05"), c.State)
		return err
	}
	return cmd
}

// restore writes the backup in file to dir. Until all of it is verified and on disk, it is in a folder below dir that no node
// uses.
func restore(file, dir string) (list node.BackupManifest, err error) {
	in, err := os.Open(file)
	if err != nil {
		return list, err
	}
	defer in.Close()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return list, err
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return list, err
	}
	there = slices.DeleteFunc(there, func(e fs.DirEntry) bool { return e.Name() == node.LostAndFound })
	if len(there) > 0 {
		return list, fmt.Errorf("%s is not empty (it has %s); stop the node and move its contents away, or choose another folder with --state", dir, there[0].Name())
	}
	part := filepath.Join(dir, ".restore")
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part))
		}
	}()
	list, err = readBackup(in, func(name string, r io.Reader) error {
		if name == configEntry {
			name = "restored.yaml"
		}
		path := filepath.Join(part, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return writeDurable(path, r)
	})
	if err != nil {
		return list, err
	}
	if err := adopt(dir, part); err != nil {
		return list, err
	}
	entries, err := os.ReadDir(part)
	if err != nil {
		return list, err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(part, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return list, err
		}
	}
	return list, os.Remove(part)
}

// adopt gives everything below part the owner of dir. A user who is not root already owns what they wrote.
func adopt(dir, part string) error {
	info, err := os.Stat(dir)
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	return filepath.WalkDir(part, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
}
