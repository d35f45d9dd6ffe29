// Package codec decodes pixel data in every accepted transfer syntax.
//
//	table.go     transfer syntaxes and their decoders
//	rle          RLE Lossless                                      PS3.5 Annex G
//	jpegll       JPEG Lossless, all predictors                     ITU-T T.81 Annex H
//	jpegls       JPEG-LS, lossless and near-lossless               ITU-T T.87
//	openjpeg     JPEG 2000, HTJ2K: OpenJPEG in a limited process   ISO 15444-1, 15444-15
//
// The image attributes determine how much memory is allocated, never the stream; the stream must agree with them.
package codec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"

	"ichor/scp/dcm"
	"ichor/scp/dcm/codec/openjpeg"
)

// Options configure a Decoder.
type Options struct {
	OpenJPEG *openjpeg.Tool // nil: JPEG 2000 and HTJ2K are not decoded
}

// Decoder decodes pixel data. It is safe for concurrent use.
type Decoder struct{ table []entry }

// New returns a Decoder.
func New(o Options) *Decoder { return &Decoder{table: tableOf(o)} }

// Detect returns a Decoder that uses the tools installed on this machine. missing is why JPEG 2000 cannot be decoded, nil if it
// can.
func Detect(ctx context.Context) (d *Decoder, missing error) {
	tool, err := openjpeg.Find(ctx)
	return New(Options{OpenJPEG: tool}), err
}

// TransferSyntaxes lists the transfer syntaxes that can be decoded, the preferred one first.
func (d *Decoder) TransferSyntaxes() []string {
	out := make([]string, len(d.table))
	for i, e := range d.table {
		out[i] = e.transferSyntax
	}
	return out
}

// Pixels returns the native pixel data of all frames as dcm.File.PixelData does, for any transfer syntax. The samples of a
// compressed pixel are adjacent, and YCbCr of JPEG is converted to RGB. Signed values with fewer bits than their cell are
// sign-extended. Errors: those of PixelData, ErrTransferSyntax, ctx's, or of the file system.
func (d *Decoder) Pixels(ctx context.Context, f *dcm.File) ([]byte, error) {
	if f.Pixels == nil || !f.Pixels.Encapsulated {
		return f.PixelData()
	}
	uid := f.Meta.TransferSyntaxUID
	for _, e := range d.table {
		if e.transferSyntax == uid && e.decode != nil {
			return frames(ctx, f, e)
		}
	}
	return nil, fmt.Errorf("compressed pixel data in %s: %w", dcm.UIDName(uid), dcm.ErrTransferSyntax)
}

func frames(ctx context.Context, f *dcm.File, e entry) ([]byte, error) {
	im, err := f.Image()
	if err != nil {
		return nil, err
	}
	if im.BitsAllocated != 8 && im.BitsAllocated != 16 {
		return nil, fmt.Errorf("compressed pixel data of %d bits allocated: %w", im.BitsAllocated, dcm.ErrPixelData)
	}
	list, err := f.Frames()
	if err != nil {
		return nil, err
	}
	if len(list) == 1 {
		return oneFrame(ctx, f, e, im, list, 0)
	}
	// In batches, on all processors, so that memory grows only with what was decoded.
	var out []byte
	some := make([][]byte, runtime.GOMAXPROCS(0))
	for at := 0; at < len(list); at += len(some) {
		clear(some)
		var g errgroup.Group
		for k := range min(len(some), len(list)-at) {
			g.Go(func() (err error) {
				some[k], err = oneFrame(ctx, f, e, im, list, at+k)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		for _, cells := range some {
			out = append(out, cells...)
		}
	}
	return out, nil
}

func oneFrame(ctx context.Context, f *dcm.File, e entry, im dcm.Image, list []dcm.Frame, i int) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	src, err := f.ReadFrame(list[i])
	if err != nil {
		return nil, err
	}
	cells, err := e.decode(ctx, src, im)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case isLocal(err):
		return nil, fmt.Errorf("frame %d: %w", i+1, err)
	case err != nil:
		return nil, fmt.Errorf("frame %d in %s: %w: %w", i+1, dcm.UIDName(e.transferSyntax), dcm.ErrPixelData, err)
	}
	return cells, nil
}

// isLocal reports whether an error is due to this machine, so that a retry may succeed, and not to the stream.
func isLocal(err error) bool {
	var path *os.PathError
	return errors.As(err, &path)
}
