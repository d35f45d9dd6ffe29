package deliver

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"ichor/pipeline/state"
	"ichor/scp/dcm"
)

// openObject opens the data set of a delivery's file, without preamble and meta information, in a transfer syntax: as it
// lies there when the file is in it, re-encoded in memory otherwise. The whole file is compared with its digest: what is
// re-encoded before, what is sent as it lies there on the way, and the last of it is read only when all of it is right.
func openObject(d state.Delivery, transferSyntax string) (io.ReadCloser, error) {
	// The error is logged, so it must not contain the file name, which is a UID of a patient's study.
	what := "in " + filepath.Dir(d.Path)
	f, err := os.Open(d.Path)
	if err != nil {
		if path := new(fs.PathError); errors.As(err, &path) {
			err = path.Err
		}
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	data, err := encoded(f, d, transferSyntax)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{data, f}, nil
}

// encoded is the data set in f in a transfer syntax.
func encoded(f *os.File, d state.Delivery, transferSyntax string) (io.Reader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if d.Size > 0 && info.Size() != d.Size {
		return nil, fmt.Errorf("%d bytes, %d were written: %w", info.Size(), d.Size, errRotten)
	}
	object, err := dcm.Read(f, info.Size(), dcm.Limits{HeaderBytes: info.Size()})
	if err != nil {
		if len(d.SHA256) > 0 && check(io.NewSectionReader(f, 0, info.Size()), d.SHA256) != nil {
			err = fmt.Errorf("%w: %w", errRotten, err)
		}
		return nil, err
	}
	encoded := object.Encoded()
	if transferSyntax == object.Meta.TransferSyntaxUID {
		if len(d.SHA256) == 0 {
			return encoded, nil
		}
		v := &verified{r: encoded, sum: sha256.New(), want: d.SHA256}
		_, err := io.Copy(v.sum, io.NewSectionReader(f, 0, info.Size()-encoded.Size()))
		return v, err
	}
	if len(d.SHA256) > 0 {
		if err := check(io.NewSectionReader(f, 0, info.Size()), d.SHA256); err != nil {
			return nil, err
		}
	}
	var buf bytes.Buffer
	if err := transcode(&buf, object, transferSyntax); err != nil {
		return nil, fmt.Errorf("as %s: %w", dcm.UIDName(transferSyntax), err)
	}
	return &buf, nil
}

// check reads all of r and compares its digest with want.
func check(r io.Reader, want []byte) error {
	_, err := io.Copy(io.Discard, &verified{r: r, sum: sha256.New(), want: want})
	return err
}

// heldBack is how many bytes a verified reader holds back until the digest is verified.
const heldBack = 32 << 10

// verified reads from r, one part behind. It returns the last part only if the digest of everything matches.
type verified struct {
	r    io.Reader
	sum  hash.Hash // of the bytes before r and those read from r
	want []byte
	part []byte // read but not returned yet
	next []byte // read ahead
	err  error  // error from r after next
}

func (v *verified) Read(p []byte) (int, error) {
	for len(v.part) == 0 {
		if v.err != nil {
			return 0, v.err
		}
		v.part = v.next
		buf := make([]byte, heldBack)
		n, err := io.ReadFull(v.r, buf)
		v.next = buf[:n]
		v.sum.Write(v.next)
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
			if !bytes.Equal(v.sum.Sum(nil), v.want) {
				v.part, v.next, v.err = nil, nil, errRotten
				continue
			}
			v.part, v.next, v.err = append(v.part, v.next...), nil, io.EOF
		case err != nil:
			v.part, v.next, v.err = nil, nil, err
		}
	}
	n := copy(p, v.part)
	v.part = v.part[n:]
	return n, nil
}

// transcode writes the data set of a file in another transfer syntax. Our objects are not compressed and have no elements after
// the pixel data.
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
