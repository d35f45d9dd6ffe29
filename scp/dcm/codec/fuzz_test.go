package codec

import (
	"bytes"
	"path/filepath"
	"testing"

	"ichor/scp/dcm"
)

// FuzzBaseline: no panic or hang in what surrounds the standard library's decoder, and in it.
func FuzzBaseline(f *testing.F) {
	f.Fuzz(func(t *testing.T, src []byte, width, height, samples byte) {
		im := dcm.Image{Rows: int(height % 48), Columns: int(width % 48), Samples: int(samples % 5), Frames: 1, BitsAllocated: 8}
		if out, err := decodeJPEGBaseline(t.Context(), src, im); err == nil && len(out) != im.FrameCells() {
			t.Fatalf("%d bytes", len(out))
		}
	})
}

// FuzzPixels: whole objects, encapsulated pixel data and all. What is decoded is as long as the image attributes say.
func FuzzPixels(f *testing.F) {
	names, err := filepath.Glob("testdata/*.dcm")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		f.Add(read(f, name))
	}
	pics := pictures()
	f.Add(pics[4].wrap(f, dcm.JPEGLSLossless, []uint32{0, 12, 24}, []byte{1, 2, 3, 4}, []byte{5, 6, 7, 8}, []byte{9, 10, 11, 12}))
	d := New(Options{})
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := dcm.Read(bytes.NewReader(b), int64(len(b)), dcm.Limits{HeaderBytes: 1 << 20, Elements: 10_000, Values: 10_000, InflatedBytes: 1 << 20, PixelBytes: 1 << 20})
		if err != nil {
			return
		}
		px, err := d.Pixels(t.Context(), file)
		if err != nil {
			return
		}
		if im, err := file.Image(); err != nil || int64(len(px)) != im.Bytes() {
			t.Fatalf("%d bytes for %+v, %v", len(px), im, err)
		}
	})
}
