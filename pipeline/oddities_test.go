package pipeline

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ichor/pipeline/phantom/synthetic"
	"ichor/scp/dcm"
)

// oddity is a change of a study that devices and tools make, and other DICOM software reads.
type oddity struct {
	name  string
	edit  func(k int, d *dcm.DataSet)
	file  func(t *testing.T, k int, file []byte) []byte
	warn  string // part of a warning that is to be given
	only  bool   // no network carries it
	image int    // the first image that has it
}

// of is a study with the change.
func (o oddity) of(t *testing.T, s *synthetic.Study) Study {
	in := study(t, s, o.edit)
	for k, object := range in.Objects {
		if o.file != nil {
			in.Objects[k] = memory{data: o.file(t, k, object.(memory).data)}
		}
	}
	return in
}

// without leaves out elements at the top.
func without(tags ...dcm.Tag) func(t *testing.T, k int, file []byte) []byte {
	return func(t *testing.T, k int, file []byte) []byte {
		out, elements := part10(t, file)
		out = bytes.Clone(out)
		for _, e := range elements {
			if !slices.Contains(tags, e.tag) {
				out = append(out, e.bytes...)
			}
		}
		return out
	}
}

func oddities() []oddity {
	comma := func(v []byte) []byte {
		out := strings.ReplaceAll(string(bytes.TrimRight(v, " ")), ".", ",")
		return []byte(out + strings.Repeat(" ", len(out)%2))
	}
	odd := func(vr string) func(t *testing.T, k int, file []byte) []byte {
		return func(t *testing.T, k int, file []byte) []byte {
			return with(t, file, explicit(0x00081155, vr, []byte("1.2.3.4.5\x00")), explicit(0x001021B0, vr, []byte("G0000000")))
		}
	}
	named := func(name string) func(t *testing.T, k int, file []byte) []byte {
		return func(t *testing.T, k int, file []byte) []byte {
			return with(t, file, explicit(dcm.SpecificCharacterSet, "CS", nil), explicit(dcm.PatientName, "PN", []byte(name)))
		}
	}
	item := func(content ...[]byte) []byte { return implicit(dcm.Item, slices.Concat(content...)) }
	return []oddity{
		{name: "VR of an older age", file: odd("RE")},
		{name: "VR of blanks", file: odd("  ")},
		{name: "VR of dashes", file: odd("--")},
		{name: "VR of zeros", file: odd("\x00\x00")},
		{name: "VR of question marks", file: odd("??")},
		{name: "private sequences under UN, implicit, explicit and nested", file: func(t *testing.T, k int, file []byte) []byte {
			inner := explicit(0x00080100, "SH", []byte("X ")).bytes
			return with(t, file, explicit(0x00091001, "UN", item(implicit(0x00080100, []byte("X ")))), explicit(0x00091002, "UN", item(inner)),
				explicit(0x00091003, "UN", item(explicit(0x00091004, "UN", item(inner)).bytes)))
		}},
		{name: "group lengths under UN", file: func(t *testing.T, k int, file []byte) []byte {
			return with(t, file, explicit(0x00080000, "UN", []byte{9, 0, 0, 0}), explicit(0x00280000, "UN", []byte{9, 0, 0, 0}))
		}},
		{name: "geometry in UT", file: func(t *testing.T, k int, file []byte) []byte {
			return with(t, file, explicit(dcm.PixelSpacing, "UT", valueOf(t, file, dcm.PixelSpacing)), explicit(dcm.ImagePositionPatient, "UT", valueOf(t, file, dcm.ImagePositionPatient)),
				explicit(dcm.ImageOrientationPatient, "LT", valueOf(t, file, dcm.ImageOrientationPatient)))
		}},
		{name: "decimal commas", warn: "decimal comma", file: func(t *testing.T, k int, file []byte) []byte {
			return with(t, file, explicit(dcm.PixelSpacing, "DS", comma(valueOf(t, file, dcm.PixelSpacing))), explicit(dcm.RescaleIntercept, "DS", []byte("-1024,0 ")))
		}},
		{name: "MONOCHROME1", edit: func(_ int, d *dcm.DataSet) { d.SetStrings(dcm.PhotometricInterpretation, "CS", "MONOCHROME1") }},
		{name: "Number of Frames 0", edit: func(_ int, d *dcm.DataSet) { d.SetStrings(dcm.NumberOfFrames, "IS", "0") }},
		{name: "12 MB of private data", file: func(t *testing.T, k int, file []byte) []byte {
			if k%4 > 0 {
				return file
			}
			return with(t, file, explicit(0x00091001, "OB", make([]byte, 12<<20)))
		}},
		{name: "UIDs padded by blanks", file: func(t *testing.T, k int, file []byte) []byte {
			uid := bytes.TrimRight(valueOf(t, file, dcm.StudyInstanceUID), "\x00")
			return with(t, file, explicit(dcm.StudyInstanceUID, "UI", append(bytes.Clone(uid), "  "[:2-len(uid)%2]...)))
		}},
		{name: "derived by a tool", warn: "derived", edit: func(_ int, d *dcm.DataSet) { d.SetStrings(dcm.ImageType, "CS", "DERIVED", "SECONDARY", "OTHER") }},
		{name: "without contrast, in a form", edit: func(_ int, d *dcm.DataSet) { d.SetStrings(dcm.ContrastBolusAgent, "LO", "W/O CONTRAST") }},
		{name: "dummy dates", edit: func(_ int, d *dcm.DataSet) {
			d.SetStrings(dcm.PatientBirthDate, "DA", "20000101")
			d.SetStrings(dcm.StudyDate, "DA", "20000101")
		}},
		{name: "name in Windows-1251, no Specific Character Set", warn: "Patient's Name (0010,0010) was read as Windows-1251",
			file: named("\xc8\xe2\xe0\xed\xee\xe2^\xc8\xe2\xe0\xed\xe8\xf7 ")},
		{name: "name in GBK, no Specific Character Set", warn: "Patient's Name (0010,0010) was read as GB18030", file: named("\xcd\xf5^\xd0\xa1\xc3\xf7 ")},
		{name: "dates and times of ACR-NEMA", edit: func(_ int, d *dcm.DataSet) {
			d.SetStrings(dcm.PatientBirthDate, "DA", "1959.01.31")
			d.SetStrings(dcm.StudyDate, "DA", "2026.11.29")
			d.SetStrings(dcm.StudyTime, "TM", "14:02:33")
		}},
		{name: "compressed under the label of Explicit VR Little Endian", warn: "labelled as Explicit VR Little Endian, but the pixel data is RLE Lossless",
			file: func(t *testing.T, k int, file []byte) []byte {
				_, elements := part10(t, file)
				px := elements[len(elements)-1].bytes[12:]
				frame := implicit(dcm.Item, rle(px))
				value := slices.Concat(implicit(dcm.Item, nil), frame, implicit(dcm.SequenceDelimitationItem, nil))
				head := []byte{0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}
				return with(t, file, element{dcm.PixelData, append(head, value...)})
			}},
		{name: "no preamble and file meta information", only: true, warn: "no file meta information", file: func(t *testing.T, k int, file []byte) []byte {
			meta, _ := part10(t, file)
			return file[len(meta):]
		}},
		{name: "one without preamble", only: true, image: 11, warn: "1 of 12 objects", file: func(t *testing.T, k int, file []byte) []byte {
			if k == 11 {
				return file[132:]
			}
			return file
		}},
		{name: "no Transfer Syntax UID", only: true, warn: "no Transfer Syntax UID", file: func(t *testing.T, k int, file []byte) []byte {
			at := bytes.Index(file, []byte("\x02\x00\x10\x00UI"))
			n := 8 + int(file[at+6])
			out := slices.Concat(file[:at], file[at+n:])
			binary.LittleEndian.PutUint32(out[140:], binary.LittleEndian.Uint32(out[140:])-uint32(n))
			return out
		}},
		{name: "deflated with the header of zlib", file: func(t *testing.T, k int, file []byte) []byte {
			meta, _ := part10(t, file)
			at := bytes.Index(file, []byte("\x02\x00\x10\x00UI"))
			n := 8 + int(file[at+6])
			uid := dcm.DeflatedExplicitVRLittleEndian
			out := bytes.NewBuffer(slices.Concat(file[:at], explicit(0x00020010, "UI", []byte(uid+"\x00"[:len(uid)%2])).bytes, file[at+n:len(meta)]))
			binary.LittleEndian.PutUint32(out.Bytes()[140:], uint32(out.Len()-144))
			z := zlib.NewWriter(out)
			if _, err := z.Write(file[len(meta):]); err != nil {
				t.Fatal(err)
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}},
		{name: "words in place of UIDs", only: true, warn: "have no valid Study Instance UID, Series Instance UID, SOP Instance UID", edit: func(k int, d *dcm.DataSet) {
			d.SetStrings(dcm.StudyInstanceUID, "UI", "ID_00a1")
			d.SetStrings(dcm.SeriesInstanceUID, "UI", "ID_00b2")
			d.SetStrings(dcm.SOPInstanceUID, "UI", fmt.Sprintf("ID_00c%d", k))
		}},
		{name: "no UIDs", only: true, warn: "have no valid Study Instance UID", file: without(dcm.StudyInstanceUID, dcm.SeriesInstanceUID, dcm.SOPInstanceUID)},
		{name: "no SOP Class UID", only: true, warn: "assumed to be CT images", file: func(t *testing.T, k int, file []byte) []byte {
			out := without(dcm.SOPClassUID)(t, k, file)
			copy(out[bytes.Index(out, []byte("\x02\x00\x02\x00UI")):], "\x02\x00\x03\x01") // nor in the file meta information
			return out
		}},
		{name: "no Image Type, part of the body and descriptions", warn: "Image Type is missing", edit: func(_ int, d *dcm.DataSet) {
			for _, t := range []dcm.Tag{dcm.ImageType, dcm.BodyPartExamined, dcm.SeriesDescription, dcm.ProtocolName, dcm.StudyDescription} {
				d.Delete(t)
			}
		}},
	}
}

// rle compresses cells of 16 bits: two segments of bytes, each byte as a run of one (PS3.5 §G.3).
func rle(px []byte) []byte {
	var segments [2][]byte
	for i := len(px) - 2; i >= 0; i -= 2 {
		segments[0], segments[1] = append(segments[0], px[i+1], 0), append(segments[1], px[i], 0)
	}
	slices.Reverse(segments[0])
	slices.Reverse(segments[1])
	head := make([]byte, 64)
	binary.LittleEndian.PutUint32(head, 2)
	binary.LittleEndian.PutUint32(head[4:], 64)
	binary.LittleEndian.PutUint32(head[8:], uint32(64+len(segments[0])))
	return slices.Concat(head, segments[0], segments[1])
}
