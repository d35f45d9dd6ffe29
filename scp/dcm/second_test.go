package dcm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/grailbio/go-dicom"
	"github.com/grailbio/go-dicom/dicomtag"
)

// TestSecondReader reads files with go-dicom beside our reader: simple elements have the same values for both.
func TestSecondReader(t *testing.T) {
	t.Parallel()
	d := sample()
	for _, other := range []Tag{SegmentSequence, DimensionIndexSequence, PixelData} { // no simple elements
		d.Delete(other)
	}
	d.SetInts(0x00186020, "SL", -5, 1<<30)
	d.SetInts(0x00189219, "SS", -300)
	d.SetInts(0x00186016, "UL", 4_000_000_000)
	d.SetFloats(0x00186028, "FD", -0.25, 1e300)
	d.SetFloats(0x00189073, "FD", 1.5)
	d.SetTags(FrameIncrementPointer, 0x00181063, Rows)
	d.SetStrings(InstanceNumber, "IS", "-7")
	d.SetStrings(StudyTime, "TM", "235959.5")
	d.SetStrings(PatientAge, "AS", "042Y")
	for _, syntax := range []string{ExplicitVRLittleEndian, ImplicitVRLittleEndian} {
		file := encode(t, d, syntax)
		ours, err := decodeFile(file)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := dicom.ReadDataSetInBytes(file, dicom.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		compared := 0
		for _, el := range theirs.Elements {
			tag := Tag(el.Tag.Group)<<16 | Tag(el.Tag.Element)
			if tag.Group() == 2 || tag.Element() == 0 || tag == SpecificCharacterSet || VR(el.VR) == "UN" {
				continue
			}
			mine, ok := ours.Data.Get(tag)
			if !ok || string(mine.VR) != el.VR || plainValues(mine.Value, mine.VR) != plainValues(el.Value, mine.VR) {
				t.Errorf("%s, %s: %v %q, go-dicom has %s %q", UIDName(syntax), tag, mine.VR, plainValues(mine.Value, mine.VR),
					el.VR, plainValues(el.Value, mine.VR))
			}
			compared++
		}
		if compared < 25 {
			t.Errorf("%s: %d elements compared", UIDName(syntax), compared)
		}
	}
}

// plainValues prints the values of an element of either reader in one way. go-dicom does not trim each value of text.
func plainValues(value any, vr VR) string {
	var out []string
	add := func(v any) {
		if tag, ok := v.(dicomtag.Tag); ok {
			v = Tag(tag.Group)<<16 | Tag(tag.Element)
		}
		out = append(out, strings.TrimSpace(fmt.Sprint(v)))
	}
	switch v := value.(type) {
	case []any:
		for _, x := range v {
			add(x)
		}
	case []string:
		for _, x := range v {
			add(x)
		}
	case []int64:
		for _, x := range v {
			add(x)
		}
	case []float64:
		for _, x := range v {
			add(x)
		}
	case []Tag:
		for _, x := range v {
			add(x)
		}
	}
	if vr == "LT" || vr == "ST" || vr == "UT" { // one value, whatever it holds
		return strings.Join(out, `\`)
	}
	return fmt.Sprint(len(out), out)
}
