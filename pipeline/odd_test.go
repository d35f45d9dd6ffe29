package pipeline

import (
	"bytes"
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
