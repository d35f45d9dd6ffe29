package node

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A backup is a tar file of the state folder: state.db as of the beginning, then everything else but the queue, which is
// rebuilt from the state. Objects that arrive meanwhile may be in it; the restored node finds and analyses them. The last
// entry lists all others, so that a backup that was cut off is not taken for a whole one.

// BackupManifest is the last entry of a backup, as JSON.
type BackupManifest struct {
	Format  int           `json:"format"` // of the backup, 1
	Version string        `json:"version"`
	Created time.Time     `json:"created"`
	Files   []BackupEntry `json:"files"`
}

// BackupEntry is one file of a backup.
type BackupEntry struct {
	Name   string `json:"name"` // in the state folder, with slashes
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

const (
	// BackupManifestName is the name of the last entry.
	BackupManifestName = "backup.json"
	// BackupFormat is the newest format of a backup that this version reads.
	BackupFormat = 1
	// LostAndFound is a folder that file systems have in their root, which can be the state folder.
	LostAndFound = "lost+found"
)

// Backup writes a backup of the running node. Retention waits until it has ended; everything else goes on.
func (n *Node) Backup(w io.Writer) error {
	defer n.sweeper.Hold()()
	b := &backup{tar: tar.NewWriter(w), manifest: BackupManifest{Format: BackupFormat, Version: n.version, Created: now()}}
	err := n.store.Snapshot(func(size int64, to func(io.Writer) error) error { return b.add("state.db", size, to) })
	if err != nil {
		return err
	}
	if err := b.addFolder(n.config.State); err != nil {
		return err
	}
	segments, err := n.spool.Segments()
	if err != nil {
		return err
	}
	for _, s := range segments {
		if err := b.addFile("spool/segments/"+s.Name, s.Path, s.Bytes); err != nil {
			return err
		}
	}
	return b.close()
}

// logBackup writes a backup for the web interface.
func (n *Node) logBackup(w io.Writer) error {
	start := time.Now()
	err := n.Backup(w)
	if err != nil {
		n.log.Error("backup not complete", "err", err)
		return err
	}
	n.log.Info("backup written", "took", time.Since(start).Round(time.Millisecond))
	return nil
}

// backup is a backup that is being written.
type backup struct {
	tar      *tar.Writer
	manifest BackupManifest
}

// add writes one entry of size bytes.
func (b *backup) add(name string, size int64, to func(io.Writer) error) error {
	if err := b.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: b.manifest.Created, Format: tar.FormatPAX}); err != nil {
		return err
	}
	digest := sha256.New()
	if err := to(io.MultiWriter(b.tar, digest)); err != nil {
		return fmt.Errorf("backup of %s: %w", name, err)
	}
	b.manifest.Files = append(b.manifest.Files, BackupEntry{name, size, hex.EncodeToString(digest.Sum(nil))})
	return nil
}

// addFile writes the first bytes of a file. Files of the node only grow or are replaced as a whole. One that was removed
// meanwhile is left out.
func (b *backup) addFile(name, path string, bytes int64) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return b.add(name, bytes, func(w io.Writer) error { _, err := io.CopyN(w, f, bytes); return err })
}

// addFolder writes the files of the state folder that have no part of their own in a backup.
func (b *backup) addFolder(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if name := filepath.Base(path); name == LostAndFound && d != nil && d.IsDir() {
			return fs.SkipDir // of the file system: only root may read it
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (name == "spool" || name == "queue"):
			return fs.SkipDir
		case name == markFile: // the restored node has not crashed
			return nil
		case !d.Type().IsRegular(), strings.HasPrefix(name, "state.db"), strings.HasPrefix(d.Name(), "."), strings.HasSuffix(name, ".part"):
			return nil // temporary files begin with a dot
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return b.addFile(filepath.ToSlash(name), path, info.Size())
	})
}

func (b *backup) close() error {
	text, err := json.MarshalIndent(b.manifest, "", " ")
	if err != nil {
		return err
	}
	if err := b.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: BackupManifestName, Size: int64(len(text)), Mode: 0o600, ModTime: b.manifest.Created}); err != nil {
		return err
	}
	_, err = b.tar.Write(text)
	return errors.Join(err, b.tar.Close())
}
