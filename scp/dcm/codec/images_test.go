package codec

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"testing"

	"ichor/scp/dcm"
)

// picture is an image whose pixels are known.
type picture struct {
	name    string
	rows    int
	columns int
	samples int
	frames  int
	bits    int // allocated
	stored  int
	signed  bool
	pixels  []byte // native, little endian
}

// pictures are the shapes that go wrong: odd sizes, signs, unused bits, several frames. They are the same in each run.
func pictures() []picture {
	list := []picture{
		{name: "s16", rows: 21, columns: 33, samples: 1, frames: 1, bits: 16, stored: 16, signed: true},
		{name: "u16", rows: 9, columns: 17, samples: 1, frames: 1, bits: 16, stored: 16},
		{name: "u12", rows: 19, columns: 15, samples: 1, frames: 1, bits: 16, stored: 12},
		{name: "u8", rows: 15, columns: 11, samples: 1, frames: 1, bits: 8, stored: 8},
		{name: "frames", rows: 13, columns: 9, samples: 1, frames: 3, bits: 16, stored: 16, signed: true},
		{name: "line", rows: 1, columns: 7, samples: 1, frames: 1, bits: 16, stored: 16},
		{name: "rgb", rows: 10, columns: 9, samples: 3, frames: 1, bits: 8, stored: 8},
	}
	for i := range list {
		list[i].draw()
	}
	return list
}

// slice is a picture like a CT slice of 512 x 512: for timing, and for what goes wrong only far behind the start.
func slice() picture {
	p := picture{name: "slice", rows: 512, columns: 512, samples: 1, frames: 1, bits: 16, stored: 16, signed: true}
	p.draw()
	return p
}

// draw fills in a bright ring around a dark middle with noise, black outside, and some extreme values.
func (p *picture) draw() {
	random := rand.New(rand.NewPCG(1, uint64(p.rows*p.columns+p.bits)))
	low, high := 0, 1<<p.stored-1
	if p.signed {
		low, high = -1<<(p.stored-1), 1<<(p.stored-1)-1
	}
	for f := range p.frames {
		for y := range p.rows {
			for x := range p.columns {
				dy, dx := 2*float64(y)/float64(p.rows)-1, 2*float64(x)/float64(p.columns)-1
				for s := range p.samples {
					v := 0
					switch r := dx*dx + dy*dy; {
					case r > 0.9:
						v = max(low, -1024)
					case r > 0.75:
						v = 900 + random.IntN(200)
					case r < 0.5:
						v = 40 + 30*s + 10*f + random.IntN(12)
					}
					if p.rows < 100 && random.IntN(40) == 0 {
						v = []int{low, high, low + 1, high - 1}[random.IntN(4)]
					}
					v = min(max(v, low), high)
					if p.bits == 8 {
						p.pixels = append(p.pixels, byte(v))
					} else {
						p.pixels = binary.LittleEndian.AppendUint16(p.pixels, uint16(v))
					}
				}
			}
		}
	}
}

// dataSet is the picture as a complete, small object.
func (p *picture) dataSet() *dcm.DataSet {
	d := &dcm.DataSet{}
	class := dcm.CTImageStorage
	if p.samples == 3 {
		class = dcm.SecondaryCaptureImageStorage
	} else if p.frames > 1 {
		class = dcm.MultiFrameGrayscaleWordSecondaryCaptureStorage
	}
	d.SetStrings(dcm.SOPClassUID, "UI", class)
	d.SetStrings(dcm.SOPInstanceUID, "UI", "2.25.1")
	d.SetStrings(dcm.StudyInstanceUID, "UI", "2.25.2")
	d.SetStrings(dcm.SeriesInstanceUID, "UI", "2.25.3")
	d.SetStrings(dcm.Modality, "CS", "CT")
	photometric := "MONOCHROME2"
	if p.samples == 3 {
		photometric = "RGB"
		d.SetInts(dcm.PlanarConfiguration, "US", 0)
	}
	d.SetStrings(dcm.PhotometricInterpretation, "CS", photometric)
	if p.frames > 1 {
		d.SetStrings(dcm.NumberOfFrames, "IS", strconv.Itoa(p.frames))
	}
	d.SetInts(dcm.SamplesPerPixel, "US", int64(p.samples))
	d.SetInts(dcm.Rows, "US", int64(p.rows))
	d.SetInts(dcm.Columns, "US", int64(p.columns))
	d.SetInts(dcm.BitsAllocated, "US", int64(p.bits))
	d.SetInts(dcm.BitsStored, "US", int64(p.stored))
	d.SetInts(dcm.HighBit, "US", int64(p.stored-1))
	sign := int64(0)
	if p.signed {
		sign = 1
	}
	d.SetInts(dcm.PixelRepresentation, "US", sign)
	if p.samples == 1 {
		d.SetDecimals(dcm.RescaleIntercept, 0)
		d.SetDecimals(dcm.RescaleSlope, 1)
	}
	vr := dcm.VR("OW")
	if p.bits == 8 {
		vr = "OB"
	}
	d.SetBytes(dcm.PixelData, vr, p.pixels)
	return d
}

// file is the picture as an uncompressed Part 10 file.
func (p *picture) file(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := dcm.WriteFile(&b, dcm.FileMeta{}, p.dataSet()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(t testing.TB, b []byte) *dcm.File {
	t.Helper()
	f, err := dcm.Read(bytes.NewReader(b), int64(len(b)), dcm.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}
