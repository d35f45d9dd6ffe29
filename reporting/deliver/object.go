package deliver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"ichor/pipeline/state"
	"ichor/scp/dcm"
)

// errNotPart10 is a result file that is not what we wrote.
var errNotPart10 = errors.New("not a Part 10 file")

// Open opens the data set of a delivery's file, without preamble and meta information, in a transfer syntax: as it
// lies there when the file is in it, re-encoded in memory otherwise.
func Open(d state.Delivery, transferSyntax string) (io.ReadCloser, error) {
	// The error goes to the log, where no UID of a patient's study belongs, and the file is named by one.
	what := "result object in " + filepath.Dir(d.Path)
	f, err := os.Open(d.Path)
	if err != nil {
		if path := new(fs.PathError); errors.As(err, &path) {
			err = path.Err
		}
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if d.Size > 0 && info.Size() != d.Size {
		f.Close()
		return nil, fmt.Errorf("%s of %d bytes, %d were written: %w", what, info.Size(), d.Size, io.ErrUnexpectedEOF)
	}
	if transferSyntax == d.TransferSyntaxUID || d.TransferSyntaxUID == "" && transferSyntax == dcm.ExplicitVRLittleEndian {
		at, err := dataSetStart(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		return struct {
			io.Reader
			io.Closer
		}{io.NewSectionReader(f, at, info.Size()-at), f}, nil
	}
	defer f.Close()
	var buf bytes.Buffer
	if err := transcode(&buf, f, info.Size(), transferSyntax); err != nil {
		return nil, fmt.Errorf("%s as %s: %w", what, dcm.UIDName(transferSyntax), err)
	}
	return io.NopCloser(&buf), nil
}

// dataSetStart returns where the data set of one of our files begins: behind preamble, DICM and group 2, whose length
// is its first element (PS3.10 §7.1).
func dataSetStart(r io.ReaderAt) (int64, error) {
	var head [144]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return 0, fmt.Errorf("%w: %w", errNotPart10, err)
	}
	if string(head[128:140]) != "DICM\x02\x00\x00\x00UL\x04\x00" {
		return 0, errNotPart10
	}
	return int64(len(head)) + int64(binary.LittleEndian.Uint32(head[140:])), nil
}

// transcode writes the data set of a file in another transfer syntax. Our objects are not compressed and hold nothing
// behind their pixel data.
func transcode(w io.Writer, r io.ReaderAt, size int64, transferSyntax string) error {
	f, err := dcm.Read(r, size, dcm.Limits{HeaderBytes: size})
	if err != nil {
		return err
	}
	if f.Pixels != nil {
		pixels, err := f.PixelData()
		if err != nil {
			return err
		}
		f.Data.SetBytes(dcm.PixelData, f.Pixels.VR, pixels)
	}
	return dcm.WriteDataSet(w, f.Data, transferSyntax)
}
