package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"ichor/cmd/ichor/node"
)

// configEntry is the configuration in a backup. It is not part of the state folder.
const configEntry = "ichor.yaml"

// readBackup passes each file of a backup to file, which reads its contents, and compares them with the list at the end. The
// files may only be used if it returns no error.
func readBackup(r io.Reader, file func(name string, r io.Reader) error) (node.BackupManifest, error) {
	var list node.BackupManifest
	archive, found := tar.NewReader(r), map[string]node.BackupEntry{}
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return list, errors.New("the backup is not complete: it ends before its list of files")
		}
		if err != nil {
			return list, fmt.Errorf("the backup cannot be read: %w", err)
		}
		if h.Name == node.BackupManifestName {
			if err := json.NewDecoder(io.LimitReader(archive, 1<<30)).Decode(&list); err != nil {
				return list, fmt.Errorf("list of files in the backup: %w", err)
			}
			break
		}
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) {
			return list, fmt.Errorf("the backup contains %q, which no node writes", h.Name)
		}
		digest := sha256.New()
		if err := file(h.Name, io.TeeReader(archive, digest)); errors.Is(err, io.ErrUnexpectedEOF) {
			return list, fmt.Errorf("the backup is cut off within %s; copy it again", h.Name)
		} else if err != nil {
			return list, err
		}
		found[h.Name] = node.BackupEntry{Name: h.Name, Bytes: h.Size, SHA256: hex.EncodeToString(digest.Sum(nil))}
	}
	if list.Format > node.BackupFormat {
		return list, fmt.Errorf("the backup has format %d, this ichor reads up to %d; use ichor %s", list.Format, node.BackupFormat, list.Version)
	}
	for _, want := range list.Files {
		if found[want.Name] != want {
			return list, fmt.Errorf("%s in the backup is damaged or missing", want.Name)
		}
	}
	return list, nil
}

// writeDurable writes a new file that only its owner may read, and syncs it.
func writeDurable(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Sync(), f.Close())
}
