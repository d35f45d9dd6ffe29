package volume

import (
	"encoding/binary"
	"fmt"
	"math"

	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

// tissueHU: padding up to this value cannot be confused with tissue; above it, a voxel of the head can have the value of the
// padding.
const tissueHU = -200

// Stored describes how to convert stored pixel values to Hounsfield units: Image Pixel module (PS3.3 §C.7.6.3), rescaling as in CT
// Image (§C.8.2.1) or a Modality LUT in its place (§C.11.1), padding of General Equipment (§C.7.5.1.1.2).
type Stored struct {
	bytes              int // per pixel: 1, 2 or 4
	columns            int
	shift, bits        uint // of the stored value inside its cell
	signed             bool
	slope, intercept   float64
	lut                []int16 // HU table in place of slope and intercept; may be nil
	lutFirst           int     // stored value of the first entry
	padded             bool
	atBorder           bool // padding has the value of tissue, so it is padding only if connected to the border of the image
	paddingLo, padding int  // stored values in this range are padding
}

// StoredOf reads the header of image i of a series. MONOCHROME1 says how to show an image, not what its values are (PS3.3
// §C.7.6.3.1.2). The error is a *finding.Refusal.
func StoredOf(h *dcm.DataSet, i int) (Stored, error) {
	integer := func(t dcm.Tag, absent int) int {
		if n, ok := h.Int(t); ok {
			return n
		}
		return absent
	}
	allocated := integer(dcm.BitsAllocated, 0)
	bits := integer(dcm.BitsStored, allocated)
	high := integer(dcm.HighBit, bits-1)
	if allocated != 8 && allocated != 16 && allocated != 32 || bits < 1 || high >= allocated || high+1 < bits {
		return Stored{}, refuse(finding.Undecodable, "%s has %d in Bits Allocated %s, %d in Bits Stored %s and %d in High Bit %s, which no CT has."+again,
			Name(h, i), allocated, dcm.BitsAllocated, bits, dcm.BitsStored, high, dcm.HighBit)
	}
	if n := integer(dcm.SamplesPerPixel, 1); n != 1 {
		return Stored{}, refuse(finding.Undecodable, "%s has %d samples per pixel (Samples per Pixel %s): it shows colours, not density.\nSend the original series.",
			Name(h, i), n, dcm.SamplesPerPixel)
	}
	if p := h.String(dcm.PhotometricInterpretation); p != "" && p != "MONOCHROME2" && p != "MONOCHROME1" {
		return Stored{}, refuse(finding.Undecodable, "%s has %.20q in Photometric Interpretation %s; MONOCHROME2 and MONOCHROME1 are read.\nSend the original series.",
			Name(h, i), p, dcm.PhotometricInterpretation)
	}
	if why := NotHounsfield(h); why != "" {
		return Stored{}, refuse(finding.NotHounsfield, "%s has pixels that are not in Hounsfield units: %s.\nSend the original series.", Name(h, i), why)
	}
	s := Stored{bytes: allocated / 8, columns: integer(dcm.Columns, 1), shift: uint(high + 1 - bits), bits: uint(bits),
		signed: integer(dcm.PixelRepresentation, 0) == 1}
	var err error
	if s.lut, s.lutFirst, err = modalityLUT(h, i); err != nil {
		return Stored{}, err
	}
	if s.lut == nil {
		var okSlope, okIntercept bool
		s.slope, okSlope = h.Float(dcm.RescaleSlope)
		s.intercept, okIntercept = h.Float(dcm.RescaleIntercept)
		if !okSlope || !okIntercept || s.slope == 0 {
			value := func(t dcm.Tag) string {
				if text := said(h, t); text != "" {
					return fmt.Sprintf("%q", text)
				}
				return "nothing"
			}
			return Stored{}, refuse(finding.MissingCalibration, "%s has %s in Rescale Slope %s and %s in Rescale Intercept %s, so that its values cannot be converted to "+
				"Hounsfield units."+again, Name(h, i), value(dcm.RescaleSlope), dcm.RescaleSlope, value(dcm.RescaleIntercept), dcm.RescaleIntercept)
		}
	}
	if p, ok := h.Int(dcm.PixelPaddingValue); ok {
		s.padded = true
		// The value may have been read as unsigned although pixels are signed, or the reverse.
		s.padding = s.value(uint32(p) << s.shift)
		s.paddingLo = s.padding
		if lim, ok := h.Int(dcm.PixelPaddingRangeLimit); ok {
			other := s.value(uint32(lim) << s.shift)
			s.paddingLo, s.padding = min(s.padding, other), max(s.padding, other)
		}
		s.atBorder = s.hu(s.padding) > tissueHU || s.hu(s.paddingLo) > tissueHU
	}
	return s, nil
}

// value extracts the stored value from its cell: bits above High Bit are not part of it (PS3.5 §8.1.1).
func (s *Stored) value(cell uint32) int {
	v := int(cell>>s.shift) & (1<<s.bits - 1)
	if s.signed && v >= 1<<(s.bits-1) {
		v -= 1 << s.bits
	}
	return v
}

// modalityLUT returns the look-up table from stored values to Hounsfield units, nil if there is none (PS3.3 §C.11.1.1). Its
// 16-bit entries are read as signed: there is no other way to express values below water.
func modalityLUT(h *dcm.DataSet, i int) (lut []int16, first int, err error) {
	items := h.Sequence(dcm.ModalityLUTSequence)
	if len(items) == 0 {
		return nil, 0, nil
	}
	if kind := items[0].String(dcm.ModalityLUTType); kind != "HU" {
		return nil, 0, refuse(finding.NotHounsfield, "%s has pixels that are not in Hounsfield units: a table turns them into %.16q (Modality LUT Type %s).\nSend the original series.",
			Name(h, i), kind, dcm.ModalityLUTType)
	}
	descriptor, _ := items[0].Floats(dcm.LUTDescriptor)
	e, _ := items[0].Get(dcm.LUTData)
	switch v := e.Value.(type) {
	case []int64:
		for _, x := range v {
			lut = append(lut, int16(x))
		}
	case []byte:
		for ; len(v) >= 2; v = v[2:] {
			lut = append(lut, int16(binary.LittleEndian.Uint16(v)))
		}
	}
	if len(descriptor) == 3 && descriptor[0] == 0 {
		descriptor[0] = 1 << 16
	}
	if len(descriptor) != 3 || len(lut) == 0 || int(descriptor[0]) != len(lut) {
		return nil, 0, refuse(finding.MissingCalibration, "%s has a table of %d values that turns pixels into Hounsfield units (LUT Data %s), and its description %v does "+
			"not fit (LUT Descriptor %s)."+again, Name(h, i), len(lut), dcm.LUTData, descriptor, dcm.LUTDescriptor)
	}
	return lut, int(descriptor[1]), nil
}

// hu returns the Hounsfield units of a stored value.
func (s *Stored) hu(v int) int16 {
	if s.lut != nil { // values outside the table take its first or last entry
		return max(s.lut[min(max(v-s.lutFirst, 0), len(s.lut)-1)], AirHU)
	}
	return int16(min(max(math.RoundToEven(float64(v)*s.slope+s.intercept), AirHU), math.MaxInt16))
}

// Decode fills dst with Hounsfield units. The error is a *finding.Refusal: raw has the wrong length. name is the name of the
// image, see Name.
func (s *Stored) Decode(raw []byte, dst []int16, name string) error {
	if want := len(dst) * s.bytes; len(raw) < want || len(raw) > want+1 { // one byte of padding: PS3.5 §8.1.1
		return refuse(finding.Undecodable, "%s has %d bytes of pixels; its Rows, Columns and Bits Allocated need %d.\nSend the series again.", name, len(raw), want)
	}
	var border []bool
	if s.padded && s.atBorder {
		border = s.paddingAtBorder(raw, len(dst))
	}
	plain, offset := s.lut == nil && s.slope == 1 && s.intercept == math.Trunc(s.intercept) && math.Abs(s.intercept) < 1e6, 0
	if plain { // nearly all scanners
		offset = int(s.intercept)
	}
	for i := range dst {
		v := s.at(raw, i)
		if s.padded && v >= s.paddingLo && v <= s.padding && (border == nil || border[i]) {
			dst[i] = AirHU
			continue
		}
		if plain {
			dst[i] = int16(min(max(v+offset, AirHU), math.MaxInt16))
			continue
		}
		dst[i] = s.hu(v)
	}
	return nil
}

// at returns stored value i.
func (s *Stored) at(raw []byte, i int) int {
	switch s.bytes {
	case 1:
		return s.value(uint32(raw[i]))
	case 2:
		return s.value(uint32(binary.LittleEndian.Uint16(raw[2*i:])))
	}
	return s.value(binary.LittleEndian.Uint32(raw[4*i:]))
}

// paddingAtBorder marks, of n pixels, the padding that is connected to the border of the image through padding.
func (s *Stored) paddingAtBorder(raw []byte, n int) []bool {
	out := make([]bool, n)
	columns := min(max(s.columns, 1), n)
	var stack []int
	visit := func(i int) {
		if i < 0 || i >= n || out[i] {
			return
		}
		if v := s.at(raw, i); v >= s.paddingLo && v <= s.padding {
			out[i] = true
			stack = append(stack, i)
		}
	}
	for i := range n {
		if c := i % columns; c == 0 || c == columns-1 || i < columns || i >= n-columns {
			visit(i)
		}
	}
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		visit(i - columns)
		visit(i + columns)
		if i%columns > 0 {
			visit(i - 1)
		}
		if i%columns < columns-1 {
			visit(i + 1)
		}
	}
	return out
}
