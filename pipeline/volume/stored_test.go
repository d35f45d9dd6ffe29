package volume

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

// Padding of the value of water is padding around the reconstruction, and water inside the head.
func TestPaddingInsideTissue(t *testing.T) {
	const o, w, b = -1000, 0, 900 // air, water or padding, bone
	for name, c := range map[string]struct {
		padding int64
		in      []int16
		want    []int16
	}{
		"padding beside the head": {w, []int16{
			w, w, o, o, o,
			w, o, b, b, b,
			o, o, b, w, b,
			w, w, b, b, b}, []int16{
			AirHU, AirHU, o, o, o,
			AirHU, o, b, b, b,
			o, o, b, w, b,
			AirHU, AirHU, b, b, b}},
		"no padding at all": {w, []int16{
			o, o, o, o, o,
			o, b, b, b, o,
			o, b, w, b, o,
			o, o, o, o, o}, []int16{
			o, o, o, o, o,
			o, b, b, b, o,
			o, b, w, b, o,
			o, o, o, o, o}},
		"padding below tissue": {-2000, []int16{
			o, o, o, o, o,
			o, b, b, b, o,
			o, b, -2000, b, o,
			o, o, o, o, o}, []int16{
			o, o, o, o, o,
			o, b, b, b, o,
			o, b, AirHU, b, o,
			o, o, o, o, o}},
	} {
		h := header(Vec{})
		h.SetInts(dcm.PixelRepresentation, "US", 1)
		h.SetInts(dcm.BitsStored, "US", 16)
		h.SetInts(dcm.HighBit, "US", 15)
		h.SetDecimals(dcm.RescaleIntercept, 0)
		h.SetInts(dcm.PixelPaddingValue, "SS", c.padding)
		s, err := StoredOf(h, 0)
		if err != nil {
			t.Fatal(err)
		}
		var raw []byte
		for _, v := range c.in {
			raw = binary.LittleEndian.AppendUint16(raw, uint16(v))
		}
		got := make([]int16, len(c.in))
		if err := s.Decode(raw, got, "The image"); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v (%v)", name, got, c.want, err)
		}
	}
}

func TestModalityLUT(t *testing.T) {
	table := func(kind string, first int64, data ...uint16) *dcm.DataSet {
		h, item := header(Vec{}), &dcm.DataSet{}
		var raw []byte
		for _, v := range data {
			raw = binary.LittleEndian.AppendUint16(raw, v)
		}
		item.SetInts(dcm.LUTDescriptor, "US", int64(len(data)), first, 16)
		item.SetStrings(dcm.ModalityLUTType, "LO", kind)
		item.SetBytes(dcm.LUTData, "OW", raw)
		h.SetSequence(dcm.ModalityLUTSequence, item)
		return h
	}
	s, err := StoredOf(table("HU", 10, 0xFC18, 40, 900), 0) // -1000
	if err != nil {
		t.Fatal(err)
	}
	got := make([]int16, 5)
	if err := s.Decode([]byte{0, 0, 10, 0, 11, 0, 12, 0, 200, 0}, got, "The image"); err != nil || !slices.Equal(got, []int16{-1000, -1000, 40, 900, 900}) {
		t.Errorf("%v (%v)", got, err)
	}
	code := func(h *dcm.DataSet) string {
		_, err := StoredOf(h, 0)
		r := &finding.Refusal{}
		errors.As(err, &r)
		return r.Code
	}
	if c := code(table("OD", 0, 1)); c != finding.NotHounsfield {
		t.Errorf("optical density: %q", c)
	}
	if c := code(table("HU", 0)); c != finding.MissingCalibration {
		t.Errorf("empty table: %q", c)
	}
	short := table("HU", 0, 1, 2)
	short.Sequence(dcm.ModalityLUTSequence)[0].SetInts(dcm.LUTDescriptor, "US", 4096, 0, 16)
	if c := code(short); c != finding.MissingCalibration {
		t.Errorf("short table: %q", c)
	}
}

func TestCells(t *testing.T) {
	for _, c := range []struct {
		name                    string
		allocated, stored, high int64
		signed                  int64
		raw                     []byte
		want                    int16
	}{
		{"8 bits", 8, 8, 7, 0, []byte{200}, -824},
		{"32 bits", 32, 32, 31, 1, []byte{0x18, 0xFC, 0xFF, 0xFF}, AirHU}, // -1000 - 1024
		{"20 of 32 bits", 32, 20, 19, 0, []byte{0x10, 0x04, 0xF0, 0xFF}, 16},
		{"large", 32, 32, 31, 0, []byte{0, 0, 0, 0x7F}, 32767},
	} {
		h := header(Vec{})
		h.SetInts(dcm.BitsAllocated, "US", c.allocated)
		h.SetInts(dcm.BitsStored, "US", c.stored)
		h.SetInts(dcm.HighBit, "US", c.high)
		h.SetInts(dcm.PixelRepresentation, "US", c.signed)
		s, err := StoredOf(h, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got [1]int16
		if err := s.Decode(c.raw, got[:], "The image"); err != nil || got[0] != c.want {
			t.Errorf("%s: %d, want %d (%v)", c.name, got[0], c.want, err)
		}
	}
}

// A slice that came twice under two identifiers is read once; two readings at one place are refused.
func TestDoubles(t *testing.T) {
	images := func(edit func(k int, h *dcm.DataSet, raw []byte)) (out []Slice) {
		for k, z := range []float64{0, 5, 10, 5, 10, 5} {
			h, raw := header(Vec{0, 0, z}), make([]byte, 40)
			h.SetStrings(dcm.InstanceNumber, "IS", dcm.Decimal(z))
			h.SetStrings(dcm.SOPInstanceUID, "UI", dcm.Decimal(float64(k)))
			for i := range raw {
				raw[i] = byte(z)
			}
			edit(k, h, raw)
			out = append(out, Slice{h, func(context.Context) ([]byte, error) { return raw, nil }})
		}
		return out
	}
	v, a, err := Build(t.Context(), images(func(int, *dcm.DataSet, []byte) {}))
	if err != nil || v.Slices() != 3 || !slices.Equal(a.Order, []int{0, 1, 2}) || !slices.Equal(a.Grid.SupportMM, []float64{5, 5, 5}) {
		t.Fatalf("%+v %v", a, err)
	}
	if len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "3 of 6 images") {
		t.Errorf("warnings %q", a.Warnings)
	}
	for name, edit := range map[string]func(int, *dcm.DataSet, []byte){
		"other pixels": func(k int, _ *dcm.DataSet, raw []byte) {
			if k == 4 {
				raw[7]++
			}
		},
	} {
		_, _, err := Build(t.Context(), images(edit))
		var r *finding.Refusal
		if !errors.As(err, &r) || r.Code != finding.DuplicatePosition {
			t.Errorf("%s: %v", name, err)
		}
	}
}
