package deliver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"ichor/pipeline/state"
	"ichor/scp/dcm"
)

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
	object, err := dcm.Read(f, info.Size(), dcm.Limits{HeaderBytes: info.Size()})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if transferSyntax == object.Meta.TransferSyntaxUID {
		return struct {
			io.Reader
			io.Closer
		}{object.Encoded(), f}, nil
	}
	defer f.Close()
	var buf bytes.Buffer
	if err := transcode(&buf, object, transferSyntax); err != nil {
		return nil, fmt.Errorf("%s as %s: %w", what, dcm.UIDName(transferSyntax), err)
	}
	return io.NopCloser(&buf), nil
}

// transcode writes the data set of a file in another transfer syntax. Our objects are not compressed and hold nothing
// behind their pixel data.
func transcode(w io.Writer, f *dcm.File, transferSyntax string) error {
	if f.Pixels != nil {
		pixels, err := f.PixelData()
		if err != nil {
			return err
		}
		f.Data.SetBytes(dcm.PixelData, f.Pixels.VR, pixels)
	}
	return dcm.WriteDataSet(w, f.Data, transferSyntax)
}
