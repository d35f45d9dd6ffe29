package codec

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"ichor/scp/dcm"
	"ichor/scp/dcm/codec/openjpeg"
)

// known are the transfer syntaxes that the standard, and dcm, know by name.
var known = []string{
	dcm.ImplicitVRLittleEndian, dcm.ExplicitVRLittleEndian, dcm.DeflatedExplicitVRLittleEndian, dcm.ExplicitVRBigEndian,
	dcm.JPEGBaseline8Bit, dcm.JPEGExtended12Bit, dcm.JPEGLossless, dcm.JPEGLosslessSV1, dcm.JPEGLSLossless, dcm.JPEGLSNearLossless,
	dcm.JPEG2000Lossless, dcm.JPEG2000, dcm.HTJ2KLossless, dcm.HTJ2KLosslessRPCL, dcm.HTJ2K, dcm.RLELossless,
}

// streams are code streams of OpenJPH 0.26 and OpenJPEG 2.5 in testdata, and what they may be sent as.
var streams = []struct {
	file, picture string
	syntaxes      []string
	off           int
}{
	{"s16_openjph.j2c", "s16", []string{dcm.HTJ2KLossless, dcm.HTJ2KLosslessRPCL, dcm.HTJ2K}, 0},
	{"slope_openjpeg-lossy.j2c", "slope", []string{dcm.JPEG2000}, 24},
}

// TestDecodesWhatItOffers decodes a committed object of another system in every transfer syntax that is offered, and
// nothing else: neither with OpenJPEG nor without.
func TestDecodesWhatItOffers(t *testing.T) {
	decoders := map[string]*Decoder{"without OpenJPEG": New(Options{})}
	tool, err := openjpeg.Find(t.Context())
	if err != nil {
		t.Log(err)
	} else {
		decoders["with OpenJPEG"] = New(Options{OpenJPEG: tool})
	}
	for name, d := range decoders {
		t.Run(name, func(t *testing.T) {
			offered := d.TransferSyntaxes()
			tested := map[string]bool{dcm.ExplicitVRLittleEndian: true}
			try := func(file string, p picture, off int, b []byte) {
				f := open(t, b)
				got, err := d.Pixels(t.Context(), f)
				if !slices.Contains(offered, f.Meta.TransferSyntaxUID) {
					if !errors.Is(err, dcm.ErrTransferSyntax) {
						t.Errorf("%s is in %s, which is not offered: %v", file, dcm.UIDName(f.Meta.TransferSyntaxUID), err)
					}
					return
				}
				tested[f.Meta.TransferSyntaxUID] = true
				if err != nil {
					t.Errorf("%s: %v", file, err)
				} else if n := difference(got, p.pixels, p.bits); n > off {
					t.Errorf("%s: %d bytes, differs by %d", file, len(got), n)
				}
			}
			pics := map[string]picture{"slope": slope()}
			for _, p := range pictures() {
				pics[p.name] = p
			}
			names, err := filepath.Glob("testdata/*.dcm")
			if err != nil || len(names) < 30 {
				t.Fatalf("%d fixtures, %v", len(names), err)
			}
			off := map[string]int{}
			for _, e := range encoders() {
				off[e.name] = e.off
			}
			for _, name := range names {
				picture, encoder, _ := strings.Cut(strings.TrimSuffix(filepath.Base(name), ".dcm"), "_")
				try(name, pics[picture], off[encoder], read(t, name))
			}
			for _, s := range streams {
				p := pics[s.picture]
				for _, syntax := range s.syntaxes {
					try(s.file, p, s.off, p.wrap(t, syntax, nil, read(t, filepath.Join("testdata", s.file))))
				}
			}
			p := pics["u8"]
			try("uncompressed", p, 0, p.file(t))
			for _, uid := range offered {
				if !tested[uid] {
					t.Errorf("%s is offered, and no object in it was decoded", dcm.UIDName(uid))
				}
			}
			for _, uid := range known {
				if slices.Contains(offered, uid) {
					continue
				}
				if _, err := d.Pixels(t.Context(), open(t, p.wrap(t, uid, nil, []byte{1}))); !errors.Is(err, dcm.ErrTransferSyntax) {
					t.Errorf("%s is not offered: %v", dcm.UIDName(uid), err)
				}
			}
		})
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// slope is smooth, so that lossy compression leaves it nearly as it was.
func slope() picture {
	p := picture{name: "slope", rows: 24, columns: 31, samples: 1, frames: 1, bits: 16, stored: 12}
	for y := range p.rows {
		for x := range p.columns {
			v := 500 + 40*x + 20*y + x*y
			p.pixels = append(p.pixels, byte(v), byte(v>>8))
		}
	}
	return p
}

// TestFragments decodes frames that are cut and counted in all the ways of PS3.5 §A.4.
func TestFragments(t *testing.T) {
	pics := pictures()
	one, three := pics[0], pics[4]
	frames := func(name string) (out [][]byte) {
		f := open(t, read(t, "testdata/"+name))
		list, err := f.Frames()
		if err != nil {
			t.Fatal(err)
		}
		for _, fr := range list {
			b, err := f.ReadFrame(fr)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, b)
		}
		return out
	}
	single, multi := frames("s16_dcmtk-sv1.dcm")[0], frames("frames_dcmtk-sv1.dcm")
	a, b, c := multi[0], multi[1], multi[2]
	n := func(parts ...[]byte) (at uint32) { // length of these items
		for _, p := range parts {
			at += uint32(8 + len(p) + len(p)%2)
		}
		return at
	}
	for _, c := range []struct {
		name      string
		p         picture
		table     []uint32
		fragments [][]byte
		want      error
	}{
		{"one fragment", one, nil, [][]byte{single}, nil},
		{"five fragments", one, nil, [][]byte{single[:2], single[2:4], single[4:100], nil, single[100:]}, nil},
		{"offset table", one, []uint32{0}, [][]byte{single[:100], single[100:]}, nil},
		{"a fragment a frame", three, nil, multi, nil},
		{"offset table of three", three, []uint32{0, n(a[:10], a[10:]), n(a[:10], a[10:], b)}, [][]byte{a[:10], a[10:], b, c}, nil},
		{"no table, two fragments each", three, nil, [][]byte{a[:10], a[10:], b[:20], b[20:], c[:6], c[6:]}, nil},
		{"offset table that points between", three, []uint32{0, 11, n(a, b)}, [][]byte{a[:10], a[10:], b, c}, dcm.ErrPixelData},
		{"offset table that falls", three, []uint32{0, n(a, b), n(a)}, [][]byte{a[:10], a[10:], b, c}, dcm.ErrPixelData},
		{"offset table of two", three, []uint32{0, n(a)}, [][]byte{a[:10], a[10:], b, c}, dcm.ErrPixelData},
		{"a frame too few", three, nil, [][]byte{a, b}, dcm.ErrPixelData},
		{"a frame too many", three, nil, [][]byte{a, b, c, c}, dcm.ErrPixelData},
		{"no fragment", one, nil, nil, dcm.ErrPixelData},
		{"empty fragment", one, nil, [][]byte{nil}, dcm.ErrPixelData},
		{"half a frame", one, nil, [][]byte{single[:len(single)/2]}, dcm.ErrPixelData},
		{"a frame of another size", one, nil, [][]byte{a}, dcm.ErrPixelData},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := New(Options{}).Pixels(t.Context(), open(t, c.p.wrap(t, dcm.JPEGLosslessSV1, c.table, c.fragments...)))
			if !errors.Is(err, c.want) || err == nil && !bytes.Equal(got, c.p.pixels) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// TestCutOff decodes every fixture cut off in its pixel data: an error each time, whatever is left.
func TestCutOff(t *testing.T) {
	d := New(Options{})
	names, err := filepath.Glob("testdata/s16_*.dcm")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d fixtures, %v", len(names), err)
	}
	for _, name := range names {
		b := read(t, name)
		for n := len(b) - 12; n > len(b)*2/3; n -= 7 { // the end alone may be padding
			f, err := dcm.Read(bytes.NewReader(b[:n]), int64(n), dcm.Limits{})
			if err != nil {
				break // in the header
			}
			if _, err := d.Pixels(t.Context(), f); err == nil {
				t.Errorf("%s: no error for %d of %d bytes", name, n, len(b))
			}
		}
	}
}

// TestLyingHeaders decodes objects that claim sizes that their streams do not have; little memory may be taken for them.
func TestLyingHeaders(t *testing.T) {
	huge := picture{rows: 20000, columns: 20000, samples: 1, frames: 1, bits: 16, stored: 16}
	for _, name := range []string{"dcmtk-sv1", "dcmtk-rle", "dcmtk-jpls", "gdcm-j2k"} {
		f := open(t, read(t, "testdata/s16_"+name+".dcm"))
		list, err := f.Frames()
		if err != nil {
			t.Fatal(err)
		}
		frame, err := f.ReadFrame(list[0])
		if err != nil {
			t.Fatal(err)
		}
		d := decoder(t)
		lying := open(t, huge.wrap(t, f.Meta.TransferSyntaxUID, nil, frame))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := d.Pixels(t.Context(), lying); err == nil {
			t.Errorf("%s: no error", name)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes for a stream of %d", name, n, len(frame))
		}
	}
}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(Options{}).Pixels(ctx, open(t, read(t, "testdata/s16_dcmtk-sv1.dcm"))); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
