package dcm

import (
	"bytes"
	"testing"
)

// Header of an image, and header with pixels.
func BenchmarkRead(b *testing.B) {
	d := sample()
	d.SetInts(Rows, "US", 512)
	d.SetInts(Columns, "US", 512)
	d.SetInts(BitsAllocated, "US", 16)
	d.SetBytes(PixelData, "OW", make([]byte, 512*512*2))
	file := encode(b, d, ExplicitVRLittleEndian)
	for _, pixels := range []bool{false, true} {
		name := map[bool]string{false: "header", true: "pixels"}[pixels]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, err := Read(bytes.NewReader(file), int64(len(file)), Limits{})
				if err != nil {
					b.Fatal(err)
				}
				if pixels {
					if _, err := f.PixelData(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
