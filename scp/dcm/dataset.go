package dcm

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Tag is a data element tag (PS3.5 §7.1): group in the high 16 bits, element in the low.
type Tag uint32

func (t Tag) Group() uint16   { return uint16(t >> 16) }
func (t Tag) Element() uint16 { return uint16(t) }
func (t Tag) String() string  { return fmt.Sprintf("(%04X,%04X)", t.Group(), t.Element()) }

// VR is a value representation (PS3.5 §6.2), two upper-case letters.
type VR string

// Element is one data element. The VR determines the Go type of Value:
//
//	AE AS CS DA DS DT IS LO LT PN SH ST TM UC UI UR UT   []string, UTF-8, trimmed of padding
//	US SS UL SL UV SV                                    []int64
//	FL FD                                                []float64
//	AT                                                   []Tag
//	OB OW OF OD OL OV UN                                 []byte, little endian
//	SQ                                                   []*DataSet
type Element struct {
	Tag   Tag
	VR    VR
	Value any
}

// DataSet is a set of elements in ascending tag order (PS3.5 §7.1). The zero value is an empty data set.
type DataSet struct {
	elements []Element
}

// Elements returns the elements in tag order. The slice is owned by the data set.
func (d *DataSet) Elements() []Element { return d.elements }

func (d *DataSet) find(t Tag) (int, bool) {
	return slices.BinarySearchFunc(d.elements, t, func(e Element, t Tag) int {
		switch {
		case e.Tag < t:
			return -1
		case e.Tag > t:
			return 1
		}
		return 0
	})
}

// Get returns the element with tag t.
func (d *DataSet) Get(t Tag) (Element, bool) {
	if d == nil {
		return Element{}, false
	}
	if i, ok := d.find(t); ok {
		return d.elements[i], true
	}
	return Element{}, false
}

// Put inserts e, replacing an element of the same tag.
func (d *DataSet) Put(e Element) {
	i, ok := d.find(e.Tag)
	if ok {
		d.elements[i] = e
		return
	}
	d.elements = slices.Insert(d.elements, i, e)
}

// Clone returns a data set with the same elements. They share their values.
func (d *DataSet) Clone() *DataSet { return &DataSet{slices.Clone(d.elements)} }

// Delete removes the element with tag t, if there is one.
func (d *DataSet) Delete(t Tag) {
	if i, ok := d.find(t); ok {
		d.elements = slices.Delete(d.elements, i, i+1)
	}
}

// SetStrings, SetInts, SetFloats, SetBytes, SetTags and SetSequence put one element; no values make it empty (Type 2).
func (d *DataSet) SetStrings(t Tag, vr VR, v ...string) { d.Put(Element{t, vr, v}) }
func (d *DataSet) SetInts(t Tag, vr VR, v ...int64)     { d.Put(Element{t, vr, v}) }
func (d *DataSet) SetFloats(t Tag, vr VR, v ...float64) { d.Put(Element{t, vr, v}) }
func (d *DataSet) SetBytes(t Tag, vr VR, v []byte)      { d.Put(Element{t, vr, v}) }
func (d *DataSet) SetTags(t Tag, v ...Tag)              { d.Put(Element{t, "AT", v}) }
func (d *DataSet) SetSequence(t Tag, items ...*DataSet) { d.Put(Element{t, "SQ", items}) }

// SetDecimals puts a DS element; each value is written with at most 16 bytes (PS3.5 §6.2, DS).
func (d *DataSet) SetDecimals(t Tag, v ...float64) {
	s := make([]string, len(v))
	for i, f := range v {
		s[i] = Decimal(f)
	}
	d.SetStrings(t, "DS", s...)
}

// Decimal formats f as a DS value with as many digits as fit in 16 bytes.
func Decimal(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		f = 0
	}
	for prec := 17; prec > 0; prec-- {
		if s := strconv.FormatFloat(f, 'g', prec, 64); len(s) <= 16 {
			if r := strconv.FormatFloat(f, 'f', -1, 64); len(r) <= 16 {
				return r
			}
			return s
		}
	}
	return "0"
}

// String returns the first value of t as text, "" if t is missing, empty or not text.
func (d *DataSet) String(t Tag) string {
	if v := d.Strings(t); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Strings returns the values of a text element.
func (d *DataSet) Strings(t Tag) []string {
	e, ok := d.Get(t)
	if !ok {
		return nil
	}
	v, _ := e.Value.([]string)
	return v
}

// Int returns the first value of t as an integer, for binary integers and IS.
func (d *DataSet) Int(t Tag) (int, bool) {
	e, ok := d.Get(t)
	if !ok {
		return 0, false
	}
	switch v := e.Value.(type) {
	case []int64:
		if len(v) > 0 {
			return int(v[0]), true
		}
	case []string:
		if len(v) > 0 {
			n, err := strconv.Atoi(strings.TrimSpace(v[0]))
			return n, err == nil
		}
	}
	return 0, false
}

// Floats returns all values of t as numbers, for DS, IS, FL, FD and binary integers. A decimal comma, which some workstations
// write, is read as a point. It reports false if t is missing or empty, or if a value is not a finite number.
func (d *DataSet) Floats(t Tag) ([]float64, bool) {
	e, ok := d.Get(t)
	if !ok {
		return nil, false
	}
	var out []float64
	switch v := e.Value.(type) {
	case []float64:
		out = v
	case []int64:
		for _, n := range v {
			out = append(out, float64(n))
		}
	case []string:
		for _, s := range v {
			f, ok := parseDecimal(s)
			if !ok {
				return nil, false
			}
			out = append(out, f)
		}
	}
	for _, f := range out {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, false
		}
	}
	return out, len(out) > 0
}

// Float returns the first value of t as a number.
func (d *DataSet) Float(t Tag) (float64, bool) {
	if v, ok := d.Floats(t); ok {
		return v[0], true
	}
	return 0, false
}

// Sequence returns the items of a sequence element.
func (d *DataSet) Sequence(t Tag) []*DataSet {
	e, ok := d.Get(t)
	if !ok {
		return nil
	}
	v, _ := e.Value.([]*DataSet)
	return v
}
