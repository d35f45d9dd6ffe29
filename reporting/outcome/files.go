package outcome

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ichor/pipeline/state"
	"ichor/reporting"
	"ichor/scp/dcm"
)

// prepare creates the folder of the results and removes incomplete files from it.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("state folder: %w; make it writable for this user, or set state to another folder", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", ".part-*"))
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// save writes the objects durably and returns one delivery for each object and destination.
func (r *Recorder) save(id state.CaseID, objects []reporting.Output, p state.Priority, destinations ...Destination) ([]state.Delivery, error) {
	dir := filepath.Join(r.o.Dir, string(id))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	earlier, err := r.o.State.Deliveries(id)
	if err != nil {
		return nil, err
	}
	recorded := map[string]state.Delivery{}
	for _, d := range earlier {
		recorded[d.SOPInstanceUID] = d
	}
	var deliveries []state.Delivery
	for _, o := range objects {
		path := filepath.Join(dir, o.SOPInstanceUID+".dcm") // our own UID: digits and dots
		size, sum, err := keep(path, o.Bytes, recorded[o.SOPInstanceUID])
		if err != nil {
			return nil, fmt.Errorf("result: %w", err)
		}
		for _, d := range destinations {
			if !o.For(d.Form) {
				continue
			}
			deliveries = append(deliveries, state.Delivery{
				DeliveryKey: state.DeliveryKey{SOPInstanceUID: o.SOPInstanceUID, Destination: d.Name},
				Kind:        string(o.Kind), SOPClassUID: o.SOPClassUID, SeriesInstanceUID: o.SeriesInstanceUID, TransferSyntaxUID: o.TransferSyntaxUID,
				Path: path, Size: size, SHA256: sum, Priority: p, Commitment: d.Commitment,
			})
		}
	}
	return deliveries, errors.Join(syncFolder(dir), syncFolder(r.o.Dir))
}

// keep writes a result durably and returns size and SHA-256 of its file. A file that matches its record stays: its object was
// sent or waits to be sent, and an object must not change under its SOP Instance UID, although a later revision has different
// bytes, such as the time of its analysis. A file that is missing, damaged or unrecorded is written again.
func keep(path string, data []byte, recorded state.Delivery) (size int64, sum []byte, err error) {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, nil, err
	}
	was := sha256.Sum256(old)
	if err == nil && int64(len(old)) == recorded.Size && (len(recorded.SHA256) == 0 || bytes.Equal(was[:], recorded.SHA256)) {
		return recorded.Size, was[:], nil
	}
	is := sha256.Sum256(data)
	return int64(len(data)), is[:], writeDurable(path, data)
}

// writeDurable replaces path with a complete, synced file; the caller syncs the folder.
func writeDurable(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".part-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // already renamed on success
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// headerOf reads the header of one of our own objects. The error does not contain the file name, which is a UID.
func headerOf(path string) (*dcm.DataSet, error) {
	f, err := os.Open(path)
	if failed := new(fs.PathError); errors.As(err, &failed) {
		return nil, fmt.Errorf("result object: %w", failed.Err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("result object: %w", err)
	}
	file, err := dcm.Read(f, info.Size(), dcm.Limits{HeaderBytes: info.Size()})
	if err != nil {
		return nil, fmt.Errorf("result object: %w", err)
	}
	return file.Data, nil
}
