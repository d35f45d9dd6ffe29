package pipeline

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/scp"
	"ichor/scp/dcm"
	"ichor/scp/dcm/codec"
	"ichor/scp/dimse"
	"ichor/scp/spool"
	"ichor/scp/ul"
)

// element is one element of a data set, with the bytes that stand for it.
type element struct {
	tag   dcm.Tag
	bytes []byte
}

// explicit writes an element; the length has 16 or 32 bits after the VR.
func explicit(t dcm.Tag, vr string, value []byte) element {
	b := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, t.Group()), t.Element())
	b = append(b, vr...)
	if slices.Contains([]string{"OB", "OW", "UN", "UT", "SQ"}, vr) {
		b = binary.LittleEndian.AppendUint32(append(b, 0, 0), uint32(len(value)))
	} else {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	}
	return element{t, append(b, value...)}
}

// implicit writes an element without VR, or an item.
func implicit(t dcm.Tag, value []byte) []byte {
	b := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, t.Group()), t.Element())
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(value))), value...)
}

// part10 takes a file of ours apart: what stands before the data set, and its elements at the top.
func part10(t *testing.T, file []byte) (meta []byte, elements []element) {
	t.Helper()
	start := 144 + int(binary.LittleEndian.Uint32(file[140:]))
	for at := start; at < len(file); {
		tag := dcm.Tag(binary.LittleEndian.Uint16(file[at:]))<<16 | dcm.Tag(binary.LittleEndian.Uint16(file[at+2:]))
		length := 8 + int(binary.LittleEndian.Uint16(file[at+6:]))
		if slices.Contains([]string{"OB", "OW", "UN", "UT", "SQ", "OF", "UC"}, string(file[at+4:at+6])) {
			length = 12 + int(binary.LittleEndian.Uint32(file[at+8:]))
		}
		elements = append(elements, element{tag, file[at : at+length]})
		at += length
	}
	return file[:start], elements
}

// with puts elements into a file of ours in place of those of the same tag, in order of tags.
func with(t *testing.T, file []byte, others ...element) []byte {
	t.Helper()
	meta, elements := part10(t, file)
	elements = slices.DeleteFunc(elements, func(e element) bool {
		return slices.ContainsFunc(others, func(o element) bool { return o.tag == e.tag })
	})
	elements = append(elements, others...)
	slices.SortStableFunc(elements, func(a, b element) int { return int(int64(a.tag) - int64(b.tag)) })
	out := bytes.Clone(meta)
	for _, e := range elements {
		out = append(out, e.bytes...)
	}
	return out
}

// valueOf is the value of an element of a file of ours, as it stands there.
func valueOf(t *testing.T, file []byte, tag dcm.Tag) []byte {
	t.Helper()
	_, elements := part10(t, file)
	for _, e := range elements {
		if e.tag == tag {
			return e.bytes[8:]
		}
	}
	t.Fatalf("no %s", tag)
	return nil
}

// overNetwork stores the objects of a study by C-STORE, and gives the study as it is in the spool.
func overNetwork(t *testing.T, in Study) (out Study, err error) {
	t.Helper()
	sp, err := spool.Open(t.Context(), spool.Options{Dir: t.TempDir(), ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	all := codec.New(codec.Options{}).TransferSyntaxes()
	server, err := scp.New(scp.Options{AETitle: "ICHOR", AnyPeer: true, Spool: sp, Sink: ignore{}, TransferSyntaxes: all, DrainTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, sp.Close()); err != nil {
			t.Error(err)
		}
	})
	var contexts []ul.ProposedContext
	for _, ts := range all {
		contexts = append(contexts, ul.ProposedContext{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{ts}},
			ul.ProposedContext{AbstractSyntax: dcm.EnhancedCTImageStorage, TransferSyntaxes: []string{ts}})
	}
	scu, err := dimse.Connect(t.Context(), dimse.ConnectOptions{Address: ln.Addr().String(), CallingAE: "CT", CalledAE: "ICHOR", ResponseTimeout: 10 * time.Second, Contexts: contexts})
	if err != nil {
		t.Fatal(err)
	}
	defer scu.Abort()
	for _, o := range in.Objects {
		file := o.(memory).data
		f, err := dcm.Read(bytes.NewReader(file), int64(len(file)), dcm.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		start := 144 + int64(binary.LittleEndian.Uint32(file[140:]))
		st, err := scu.Store(t.Context(), dimse.StoreRequest{SOPClassUID: f.Data.String(dcm.SOPClassUID), SOPInstanceUID: f.Data.String(dcm.SOPInstanceUID),
			TransferSyntaxUID: label(t, file), Data: io.NewSectionReader(bytes.NewReader(file), start, int64(len(file))-start)})
		if err != nil || !st.Success() {
			return out, fmt.Errorf("%s: %w", st, err)
		}
	}
	for _, o := range sp.Study(in.UID) {
		out.Objects = append(out.Objects, spooled{sp, o})
	}
	out.UID = in.UID
	return out, nil
}

// label is the transfer syntax that the file meta information names, which may not be that of the pixels.
func label(t *testing.T, file []byte) string {
	t.Helper()
	at := bytes.Index(file, []byte("\x02\x00\x10\x00UI"))
	return strings.TrimRight(string(file[at+8:at+8+int(file[at+6])]), "\x00")
}

type ignore struct{}

func (ignore) Opened(uint64)                       {}
func (ignore) Received(uint64, spool.Object, bool) {}
func (ignore) Closed(uint64)                       {}
func (ignore) Refused(uint64)                      {}

type spooled struct {
	spool *spool.Spool
	spool.Object
}

func (s spooled) Open() (ObjectReader, error) { return s.spool.Read(s.Object) }

// oddity is a change of a study that devices and tools make, and other DICOM software reads.
type oddity struct {
	name string
	edit func(k int, d *dcm.DataSet)
	file func(t *testing.T, k int, file []byte) []byte
	warn string // part of a warning that is to be given
	only bool   // no network carries it
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
		{name: "one without preamble", only: true, warn: "1 of 12 objects", file: func(t *testing.T, k int, file []byte) []byte {
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
		{name: "words in place of UIDs", only: true, warn: "no UID where one must be (Study Instance UID, Series Instance UID, SOP Instance UID)", edit: func(k int, d *dcm.DataSet) {
			d.SetStrings(dcm.StudyInstanceUID, "UI", "ID_00a1")
			d.SetStrings(dcm.SeriesInstanceUID, "UI", "ID_00b2")
			d.SetStrings(dcm.SOPInstanceUID, "UI", fmt.Sprintf("ID_00c%d", k))
		}},
		{name: "no UIDs", only: true, warn: "no UID where one must be", file: without(dcm.StudyInstanceUID, dcm.SeriesInstanceUID, dcm.SOPInstanceUID)},
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

// TestOddStudies changes a study in ways that devices and tools do, which other DICOM software reads: its volume is that
// of the study as it was, read from files and received by C-STORE alike.
func TestOddStudies(t *testing.T) {
	decoder := codec.New(codec.Options{})
	s := synthetic.Head(small())
	plain := study(t, s, nil)
	want, usual, err := read(t, plain, decoder)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range oddities() {
		t.Run(c.name, func(t *testing.T) {
			in := c.of(t, s)
			check := func(how string, in Study) {
				v, r, err := read(t, in, decoder)
				if err != nil {
					t.Fatalf("%s: %v", how, err)
				}
				if !slices.Equal(v.HU, want.HU) || !slices.Equal(v.Origins, want.Origins) || v.SpacingMM != want.SpacingMM {
					t.Errorf("%s: another volume", how)
				}
				more := slices.DeleteFunc(r.Finding.Warnings, func(w string) bool { return slices.Contains(usual.Finding.Warnings, w) })
				if said := strings.Join(more, "\n"); !strings.Contains(said, c.warn) || c.warn == "" && said != "" {
					t.Errorf("%s: warnings %q, want %q", how, said, c.warn)
				}
			}
			check("files", in)
			if c.only {
				return
			}
			received, err := overNetwork(t, in)
			if err != nil {
				t.Fatal(err)
			}
			check("network", received)
		})
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

// TestCutOffOverNetwork: an object that ends inside an element is refused with C000H, and not kept.
func TestCutOffOverNetwork(t *testing.T) {
	s := synthetic.Head(small())
	whole := study(t, s, nil)
	for name, cut := range map[string]func(file []byte) []byte{
		"in the pixels": func(file []byte) []byte { return file[:len(file)-100] },
		"a length of FFFFFFFEH": func(file []byte) []byte {
			out := bytes.Clone(file)
			binary.LittleEndian.PutUint32(out[bytes.Index(out, []byte("\xE0\x7F\x10\x00OW"))+8:], 0xFFFFFFFE)
			return out
		},
	} {
		in := Study{UID: whole.UID, Objects: []Input{memory{data: cut(whole.Objects[0].(memory).data)}}}
		var refused *dimse.StatusError
		if out, err := overNetwork(t, in); !errors.As(err, &refused) || refused.Status != dimse.CannotUnderstand || len(out.Objects) > 0 {
			t.Errorf("%s: %v, %d objects", name, err, len(out.Objects))
		}
	}
}

// TestUnreadableStudy says of each kind of file that cannot be read which it is, and why.
func TestUnreadableStudy(t *testing.T) {
	s := synthetic.Head(small())
	in := study(t, s, nil)
	for k, o := range in.Objects {
		file := bytes.Clone(o.(memory).data)
		switch {
		case k == 3:
			file = file[:200]
		case k == 7:
			file = []byte("hello")
		default:
			file = with(t, file, explicit(dcm.PatientComments, "UT", make([]byte, 40)))
			at := bytes.Index(file, []byte("\x10\x00\x00\x40UT"))
			binary.LittleEndian.PutUint32(file[at+8:], 0xFFFFFFFE)
		}
		in.Objects[k] = memory{data: file}
	}
	r, err := analyzer().Analyze(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	f := r.Finding
	for _, want := range []string{"None of the 12 objects", "object 1: ", "(0010,4000)", "4294967294 bytes", "object 4: file meta information", "object 8: ", "not a DICOM Part 10 file", "and 9 more"} {
		if f.Code != finding.Undecodable || !strings.Contains(f.Reason, want) {
			t.Errorf("%s %q, want %q", f.Code, f.Reason, want)
		}
	}
	in.Objects[0] = study(t, s, nil).Objects[0]
	if r, err = analyzer().Analyze(t.Context(), in); err != nil || len(r.Finding.Warnings) == 0 || !strings.Contains(r.Finding.Warnings[0], "11 of 12 objects") {
		t.Errorf("%v %q", err, r.Finding.Warnings)
	}
}

// TestOddSeries: what identifiers and acquisitions of a series do not tell, or tell wrongly.
func TestOddSeries(t *testing.T) {
	decoder := codec.New(codec.Options{})
	s := synthetic.Head(small())
	want, _, err := read(t, study(t, s, nil), decoder)
	if err != nil {
		t.Fatal(err)
	}
	// both puts a second series of the same head into the series of the first, image by image.
	both := func(first, second func(k int, d, of *dcm.DataSet)) Study {
		var headers []*dcm.DataSet
		in := study(t, s, func(k int, d *dcm.DataSet) {
			headers = append(headers, d)
			first(k, d, nil)
		})
		in.Objects = append(in.Objects, study(t, s, func(k int, d *dcm.DataSet) {
			for _, tag := range []dcm.Tag{dcm.StudyInstanceUID, dcm.SeriesInstanceUID, dcm.FrameOfReferenceUID} {
				d.SetStrings(tag, "UI", headers[k].String(tag))
			}
			second(k, d, headers[k])
		}).Objects...)
		return in
	}
	as := func(int, *dcm.DataSet, *dcm.DataSet) {}
	copied := func(k int, d, _ *dcm.DataSet) {
		d.SetStrings(dcm.SOPInstanceUID, "UI", fmt.Sprintf("1.2.3.%d", k))
		d.Delete(dcm.InstanceNumber)
	}
	moved := func(k int, d, _ *dcm.DataSet) {
		copied(k, d, nil)
		p, _ := d.Floats(dcm.ImagePositionPatient)
		d.SetDecimals(dcm.ImagePositionPatient, p[0]+12, p[1], p[2]+2)
	}
	for _, c := range []struct {
		name string
		in   Study
		warn string
	}{
		{name: "copies without numbers under other UIDs", in: both(func(_ int, d, _ *dcm.DataSet) { d.Delete(dcm.InstanceNumber) }, copied), warn: "12 of 24 images are copies"},
		{name: "two frames of reference", in: both(as, func(k int, d, _ *dcm.DataSet) {
			moved(k, d, nil)
			d.SetStrings(dcm.FrameOfReferenceUID, "UI", "1.2.9")
		}), warn: "2 frames of reference"},
		{name: "two scans between each other", in: both(func(_ int, d, _ *dcm.DataSet) { d.SetStrings(dcm.AcquisitionNumber, "IS", "1") }, func(k int, d, _ *dcm.DataSet) {
			moved(k, d, nil)
			d.SetStrings(dcm.AcquisitionNumber, "IS", "2")
		}), warn: "2 scans of the same body region"},
		{name: "UIDs shared with a bone series", in: both(as, func(_ int, d, of *dcm.DataSet) {
			d.SetStrings(dcm.SOPInstanceUID, "UI", of.String(dcm.SOPInstanceUID))
			d.SetStrings(dcm.SeriesInstanceUID, "UI", "1.2.4")
			d.SetStrings(dcm.ConvolutionKernel, "SH", "BONE")
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			slices.Reverse(c.in.Objects) // the odd ones come first
			for how, in := range map[string]func() (Study, error){"files": func() (Study, error) { return c.in, nil }, "network": func() (Study, error) { return overNetwork(t, c.in) }} {
				in, err := in()
				if err != nil {
					t.Fatal(err)
				}
				v, r, err := read(t, in, decoder)
				if err != nil {
					t.Fatalf("%s: %v", how, err)
				}
				if v.Slices() != want.Slices() || !slices.Equal(v.HU, want.HU) {
					t.Errorf("%s: another volume, of %d slices", how, v.Slices())
				}
				if said := strings.Join(r.Finding.Warnings, "\n"); !strings.Contains(said, c.warn) {
					t.Errorf("%s: warnings %q, want %q", how, said, c.warn)
				}
			}
		})
	}
	one := study(t, s, func(_ int, d *dcm.DataSet) { d.SetStrings(dcm.SOPInstanceUID, "UI", "1.2.3") })
	received, err := overNetwork(t, one)
	if err != nil {
		t.Fatal(err)
	}
	for how, in := range map[string]Study{"files": one, "network": received} {
		r, err := analyzer().Analyze(t.Context(), in)
		if err != nil || r.Finding.Code != finding.DuplicatePosition || !strings.Contains(r.Finding.Reason, "SOP Instance UID") {
			t.Errorf("%s, one UID for all: %v %s %q", how, err, r.Finding.Code, r.Finding.Reason)
		}
	}
}
