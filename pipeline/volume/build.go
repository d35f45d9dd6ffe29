package volume

import (
	"context"
	"encoding/binary"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"

	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

// AirHU is the least value of a volume: air, and what padding outside the reconstruction is set to.
const AirHU = -1024

// Slice is one image of a series: its header, and its pixels when asked for.
type Slice struct {
	Header *dcm.DataSet
	Pixels func(context.Context) ([]byte, error) // native, little endian, as dcm.File.PixelData; called by many goroutines
}

// Build reads the slices of one series into a volume on the source grid. The error is a *finding.Refusal where the
// series cannot be measured, ctx's, or one of Pixels.
func Build(ctx context.Context, slices []Slice) (*Volume, *Arrangement, error) {
	headers := make([]*dcm.DataSet, len(slices))
	for i, s := range slices {
		headers[i] = s.Header
	}
	a, err := Arrange(headers)
	if err != nil {
		return nil, nil, err
	}
	stored := make([]Stored, len(slices))
	for i, h := range headers {
		if stored[i], err = StoredOf(h); err != nil {
			return nil, nil, err
		}
	}
	first := headers[a.Order[0]]
	v := &Volume{Grid: a.Grid, HU: make([]int16, len(slices)*a.Grid.Rows*a.Grid.Columns),
		SeriesInstanceUID: first.String(dcm.SeriesInstanceUID), FrameOfReferenceUID: first.String(dcm.FrameOfReferenceUID)}
	// Decompression costs more than all else here, and no slice depends on another.
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for k, i := range a.Order {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			raw, err := slices[i].Pixels(ctx)
			if err != nil {
				return err
			}
			return stored[i].Decode(raw, v.Slice(k))
		})
		frame, _ := headers[i].Int(dcm.ReferencedFrameNumber) // see Frames
		v.Sources = append(v.Sources, Source{SOPClassUID: headers[i].String(dcm.SOPClassUID),
			SOPInstanceUID: headers[i].String(dcm.SOPInstanceUID), Frame: frame})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	return v, a, nil
}

// Stored says how stored pixel values become Hounsfield units: Image Pixel module (PS3.3 §C.7.6.3), Modality LUT as in CT
// Image (§C.8.2.1), padding of General Equipment (§C.7.5.1.1.2).
type Stored struct {
	bytes              int  // per pixel: 1 or 2
	shift, bits        uint // of the stored value inside its cell
	signed             bool
	slope, intercept   float64
	padded             bool
	paddingLo, padding int // stored values from the one to the other are padding
}

// StoredOf reads a header. The error is a *finding.Refusal.
func StoredOf(h *dcm.DataSet) (Stored, error) {
	integer := func(t dcm.Tag, absent int) int {
		if n, ok := h.Int(t); ok {
			return n
		}
		return absent
	}
	allocated := integer(dcm.BitsAllocated, 0)
	bits := integer(dcm.BitsStored, allocated)
	high := integer(dcm.HighBit, bits-1)
	if allocated != 8 && allocated != 16 || bits < 1 || high >= allocated || high+1 < bits {
		return Stored{}, refuse(finding.Undecodable, "Pixels of %d bits, %d of them used up to bit %d, are no CT pixels; "+
			"send the original series.", allocated, bits, high)
	}
	if n := integer(dcm.SamplesPerPixel, 1); n != 1 {
		return Stored{}, refuse(finding.Undecodable, "Pixels of %d samples are no CT pixels; send the original series.", n)
	}
	if p := h.String(dcm.PhotometricInterpretation); p != "" && p != "MONOCHROME2" {
		return Stored{}, refuse(finding.Undecodable, "Pixels of kind %.20q are no CT pixels; MONOCHROME2 is read. Send the original series.", p)
	}
	slope, okSlope := h.Float(dcm.RescaleSlope)
	intercept, okIntercept := h.Float(dcm.RescaleIntercept)
	if !okSlope || !okIntercept || slope == 0 {
		return Stored{}, refuse(finding.MissingCalibration, "The slices do not say how pixel values become Hounsfield units (Rescale Slope, "+
			"Rescale Intercept); send the series again as it left the scanner.")
	}
	if why := NotHounsfield(h); why != "" {
		return Stored{}, refuse(finding.NotHounsfield, "The pixels are no Hounsfield units: %s; send the original series.", why)
	}
	s := Stored{bytes: allocated / 8, shift: uint(high + 1 - bits), bits: uint(bits),
		signed: integer(dcm.PixelRepresentation, 0) == 1, slope: slope, intercept: intercept}
	if p, ok := h.Int(dcm.PixelPaddingValue); ok {
		s.padded = true
		// The value may have been read as unsigned where pixels are signed, and the other way round.
		s.padding = s.value(uint16(p) << s.shift)
		s.paddingLo = s.padding
		if lim, ok := h.Int(dcm.PixelPaddingRangeLimit); ok {
			other := s.value(uint16(lim) << s.shift)
			s.paddingLo, s.padding = min(s.padding, other), max(s.padding, other)
		}
	}
	return s, nil
}

// value takes the stored value out of its cell: bits above High Bit are not part of it (PS3.5 §8.1.1).
func (s *Stored) value(cell uint16) int {
	v := int(cell>>s.shift) & (1<<s.bits - 1)
	if s.signed && v >= 1<<(s.bits-1) {
		v -= 1 << s.bits
	}
	return v
}

// Decode fills dst with Hounsfield units. The error is a *finding.Refusal: raw is not as long as dst needs.
func (s *Stored) Decode(raw []byte, dst []int16) error {
	if want := len(dst) * s.bytes; len(raw) < want || len(raw) > want+1 { // one byte of padding: PS3.5 §8.1.1
		return refuse(finding.Undecodable, "A slice holds %d bytes of pixels and needs %d; send the series again.", len(raw), want)
	}
	plain := s.slope == 1 && s.intercept == math.Trunc(s.intercept)
	offset := int(s.intercept)
	for i := range dst {
		var cell uint16
		if s.bytes == 1 {
			cell = uint16(raw[i])
		} else {
			cell = binary.LittleEndian.Uint16(raw[2*i:])
		}
		v := s.value(cell)
		if s.padded && v >= s.paddingLo && v <= s.padding {
			dst[i] = AirHU
			continue
		}
		if plain {
			v += offset
			dst[i] = int16(min(max(v, AirHU), math.MaxInt16))
			continue
		}
		hu := math.RoundToEven(float64(v)*s.slope + s.intercept)
		dst[i] = int16(math.Min(math.Max(hu, AirHU), math.MaxInt16))
	}
	return nil
}
