package nifti

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const most = 1 << 20

// TestReadKinds reads each type of voxel in both versions and byte orders, plain and compressed, scaled and not.
func TestReadKinds(t *testing.T) {
	t.Parallel()
	signed := func(i int) float64 { return float64(i%30 - 15) }
	for datatype := range kinds {
		for _, version := range []int{1, 2} {
			for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
				for _, slope := range []float64{0, 2} {
					s := usual()
					s.version, s.order, s.datatype, s.slope, s.intercept, s.extension = version, order, datatype, slope, -10, 16*version
					s.value = signed
					if datatype == 2 || datatype == 512 || datatype == 768 || datatype == 1280 {
						s.value = func(i int) float64 { return float64(i % 30) }
					}
					name := fmt.Sprint("type ", datatype, " version ", version, " ", order, " slope ", slope)
					for _, file := range [][]byte{s.bytes(t), zipped(t, s.bytes(t))} {
						m, err := Read(bytes.NewReader(file), most)
						if err != nil {
							t.Fatalf("%s: %v", name, err)
						}
						if m.Size != s.size || m.Form != SForm || math.Abs(m.Affine[0][0]+0.5) > 1e-6 || m.Affine[2] != s.srow[2] {
							t.Errorf("%s: %+v", name, m)
						}
						for i, got := range m.HU {
							want := s.value(i)
							if slope != 0 {
								want = 2*want - 10
							}
							if float64(got) != want {
								t.Fatalf("%s: voxel %d is %d, want %g", name, i, got, want)
							}
						}
					}
				}
			}
		}
	}
}

// TestValues: values beyond the range of a CT are limited to it, and NaN counts as air.
func TestValues(t *testing.T) {
	t.Parallel()
	in := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -3024, 40.4, 40.6, 1e30, -0.2}
	s := usual()
	s.datatype, s.size = 16, [3]int{2, 2, 2}
	s.value = func(i int) float64 { return in[i] }
	for _, scale := range []float64{0, math.NaN(), math.Inf(1), 1} {
		s.slope = scale
		m, err := Read(bytes.NewReader(s.bytes(t)), most)
		if err != nil {
			t.Fatal(err)
		}
		if want := []int16{-1024, 32767, -1024, -1024, 40, 41, 32767, 0}; !slices.Equal(m.HU, want) {
			t.Errorf("slope %g: %v, want %v", scale, m.HU, want)
		}
	}
}

// TestGeometry: sform before qform before voxel sizes, units, a mirrored and a turned qform.
func TestGeometry(t *testing.T) {
	t.Parallel()
	read := func(edit func(*sample)) *Image {
		s := usual()
		s.version = 2 // in double precision
		edit(&s)
		m, err := Read(bytes.NewReader(s.bytes(t)), most)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	same := func(name string, m *Image, want [3][4]float64, form Form, differ bool) {
		t.Helper()
		for r := range 3 {
			for c := range 4 {
				if math.Abs(m.Affine[r][c]-want[r][c]) > 1e-9 || m.Form != form || m.Differ != differ {
					t.Errorf("%s: %v from %s, differ %v; want %v", name, m.Affine, m.Form, m.Differ, want)
					return
				}
			}
		}
	}
	usualRow := usual().srow
	same("sform", read(func(*sample) {}), usualRow, SForm, false)
	half := math.Sqrt(0.5)
	turned := func(s *sample) {
		s.sform, s.qform, s.quatern, s.qoffset = 0, 1, [3]float64{0, 0, half}, [3]float64{1, 2, 3}
	} // i to the front, j to the left
	same("qform", read(turned), [3][4]float64{{0, -0.6, 0, 1}, {0.5, 0, 0, 2}, {0, 0, 5, 3}}, QForm, false)
	same("qform with qfac -1", read(func(s *sample) { turned(s); s.pixdim[0] = -1 }), [3][4]float64{{0, -0.6, 0, 1}, {0.5, 0, 0, 2}, {0, 0, -5, 3}}, QForm, false)
	same("half a turn", read(func(s *sample) { turned(s); s.quatern = [3]float64{0, 0, 1.0002} }), [3][4]float64{{-0.5, 0, 0, 1}, {0, -0.6, 0, 2}, {0, 0, 5, 3}}, QForm, false)
	same("both differ", read(func(s *sample) { turned(s); s.sform = 1 }), usualRow, SForm, true)
	same("both agree", read(func(s *sample) { s.qform, s.quatern, s.qoffset = 1, [3]float64{0, 0, 1}, [3]float64{10, 20, 30} }), usualRow, SForm, false)
	same("sform of zeros", read(func(s *sample) { turned(s); s.sform, s.srow = 1, [3][4]float64{} }), [3][4]float64{{0, -0.6, 0, 1}, {0.5, 0, 0, 2}, {0, 0, 5, 3}}, QForm, false)
	if m := read(func(s *sample) { turned(s); s.sform, s.srow = 1, [3][4]float64{} }); m.Passed != "voxels of 0 x 0 x 0" {
		t.Errorf("a sform of zeros is passed over because of %q", m.Passed)
	}
	same("no form", read(func(s *sample) { s.sform = 0 }), [3][4]float64{{-0.5, 0, 0, 0.75}, {0, 0.6, 0, -0.6}, {0, 0, 5, -2.5}}, NoForm, false)
	metres := usualRow
	for r := range 3 {
		for c := range 4 {
			metres[r][c] /= 1000
		}
	}
	same("metres", read(func(s *sample) { s.units, s.srow = 1|8, metres }), usualRow, SForm, false)
	if m := read(func(*sample) {}); m.Axis(0) != [3]float64{0.5, 0, 0} || m.Axis(1) != [3]float64{0, 0.6, 0} || m.Origin() != [3]float64{-10, -20, 30} {
		t.Errorf("in coordinates of DICOM: %v %v %v", m.Axis(0), m.Axis(1), m.Origin())
	}
}

// TestHostile: each file is refused by a named error, and none has much memory allocated.
func TestHostile(t *testing.T) {
	change := func(edit func(*sample)) []byte {
		s := usual()
		edit(&s)
		return s.bytes(t)
	}
	patch := func(file []byte, at int, b ...byte) []byte {
		return append(append(slices.Clone(file[:at]), b...), file[at+len(b):]...)
	}
	plain := usual().bytes(t)
	two := change(func(s *sample) { s.version = 2 })
	huge := binary.LittleEndian.AppendUint64(nil, math.MaxInt64)
	big := change(func(s *sample) { s.version, s.datatype = 2, 64 })
	for i := range 3 {
		big = patch(big, 24+8*i, binary.LittleEndian.AppendUint64(nil, 100)...) // a million voxels, of which 24 follow
	}
	for _, c := range []struct {
		name string
		file []byte
		want error
	}{
		{"nothing", nil, ErrTruncated},
		{"two bytes", plain[:2], ErrTruncated},
		{"half a header", plain[:200], ErrTruncated},
		{"half of the voxels", plain[:len(plain)-20], ErrTruncated},
		{"text", []byte(strings.Repeat("no scan ", 100)), ErrFormat},
		{"header of a pair of files", patch(plain, 344, 'n', 'i', '1'), ErrFormat},
		{"version 2 with line ends converted", patch(two, 8, '\n', '\n'), ErrFormat},
		{"no dimension", patch(plain, 40, 0, 0), ErrFormat},
		{"negative size", patch(plain, 42, 0xFF, 0xFF), ErrFormat},
		{"size beyond all", patch(two, 24, huge...), ErrFormat},
		{"many voxels", patch(patch(patch(plain, 42, 0xFF, 0x7F), 44, 0xFF, 0x7F), 46, 0xFF, 0x7F), ErrTooLarge},
		{"a million voxels promised", big, ErrTruncated},
		{"a series of volumes", change(func(s *sample) { s.more = []int64{2} }), ErrFormat},
		{"colour", change(func(s *sample) { s.datatype = 128 }), ErrFormat},
		{"complex numbers", change(func(s *sample) { s.datatype = 32 }), ErrFormat},
		{"voxels inside the header", patch(plain, 108, 0, 0, 0xC8, 0x42), ErrFormat},
		{"voxels nowhere", patch(plain, 108, 0, 0, 0xC0, 0x7F), ErrFormat},
		{"voxels far away", patch(two, 168, huge...), ErrFormat},
		{"no geometry", change(func(s *sample) { s.sform, s.pixdim = 0, [4]float64{} }), ErrGeometry},
		{"geometry that is no number", change(func(s *sample) { s.srow[1][1], s.pixdim[2] = math.NaN(), math.Inf(1) }), ErrGeometry},
		{"flat geometry", change(func(s *sample) { s.srow[2], s.pixdim[3] = s.srow[1], 0 }), ErrGeometry},
		{"gzip of nothing", []byte{0x1F, 0x8B}, ErrTruncated},
		{"gzip cut off", zipped(t, plain)[:60], ErrTruncated},
		{"gzip changed", patch(zipped(t, plain), len(zipped(t, plain))-8, 1, 2, 3, 4), ErrTruncated},
		{"gzip of noise", append([]byte{0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0}, bytes.Repeat([]byte{0xFF, 0x17}, 200)...), ErrTruncated},
		{"gzip in gzip", zipped(t, zipped(t, plain)), ErrFormat},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := Read(bytes.NewReader(c.file), most)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, c.want) || !Defective(err) || m != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
			t.Errorf("%s: %d MiB allocated", c.name, used>>20)
		}
	}
	failed := errors.New("disk")
	if _, err := Read(broken{bytes.NewReader(plain[:100]), failed}, most); !errors.Is(err, failed) || Defective(err) {
		t.Errorf("an error of the disk became %v", err)
	}
}

// TestLenient reads what other software reads although it is not as it should be.
func TestLenient(t *testing.T) {
	t.Parallel()
	change := func(edit func(*sample)) []byte {
		s := usual()
		edit(&s)
		return s.bytes(t)
	}
	noOffset := usual().bytes(t)
	copy(noOffset[108:], make([]byte, 4))
	want, err := Read(bytes.NewReader(usual().bytes(t)), most)
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{
		"no place of the voxels":      noOffset,
		"dimensions of one and of no": change(func(s *sample) { s.more = []int64{1, 0, 1} }),
		"more behind the voxels":      append(usual().bytes(t), 1, 2, 3),
		"more behind gzip":            append(zipped(t, usual().bytes(t)), make([]byte, 512)...),
		"gzip in two members":         append(zipped(t, usual().bytes(t)[:360]), zipped(t, usual().bytes(t)[360:])...),
		"an extension":                change(func(s *sample) { s.extension = 4096 }),
	} {
		if m, err := Read(bytes.NewReader(file), most); err != nil || !slices.Equal(m.HU, want.HU) || m.Affine != want.Affine {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// broken is a reader that fails at its end.
type broken struct {
	*bytes.Reader
	err error
}

func (b broken) Read(p []byte) (int, error) {
	if n, err := b.Reader.Read(p); err == nil {
		return n, nil
	}
	return 0, b.err
}

// TestWriteMask reads back what is written: the labels, and the geometry of the file that was read.
func TestWriteMask(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 2} {
		for _, form := range []Form{SForm, QForm, NoForm} {
			s := usual()
			s.version, s.order = version, binary.BigEndian
			if form != SForm {
				s.sform = 0
			}
			if form == QForm {
				s.qform, s.quatern, s.qoffset, s.pixdim[0] = 1, [3]float64{0.1, 0.2, 0.3}, [3]float64{1, 2, 3}, -1
			}
			m, err := Read(bytes.NewReader(s.bytes(t)), most)
			if err != nil {
				t.Fatal(err)
			}
			labels := make([]uint8, len(m.HU))
			for i := range labels {
				labels[i] = uint8(i % 6)
			}
			var b bytes.Buffer
			if err := m.WriteMask(&b, labels); err != nil {
				t.Fatal(err)
			}
			back, err := Read(&b, most)
			if err != nil {
				t.Fatal(err)
			}
			if back.Affine != m.Affine || back.Form != form || back.Size != m.Size || back.header.version != version || back.header.datatype != uint8Type {
				t.Errorf("version %d, %s: %+v, was %+v", version, form, back.header, m.header)
			}
			for i, l := range labels {
				if back.HU[i] != int16(l) {
					t.Fatalf("voxel %d is %d, want %d", i, back.HU[i], l)
				}
			}
		}
	}
}

// FuzzRead: no file makes Read panic, and an error is about the file.
func FuzzRead(f *testing.F) {
	for _, version := range []int{1, 2} {
		s := usual()
		s.version = version
		f.Add(s.bytes(f))
		f.Add(zipped(f, s.bytes(f)))
		s.order, s.datatype, s.sform, s.qform = binary.BigEndian, 16, 0, 1
		f.Add(s.bytes(f))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := ReadScan(bytes.NewReader(file), 1<<16)
		if err != nil {
			if !Defective(err) {
				t.Errorf("not about the file: %v", err)
			}
			return
		}
		if len(s.HU) != s.Size[0]*s.Size[1]*s.Size[2] {
			t.Fatalf("%d voxels of %v", len(s.HU), s.Size)
		}
		if s.CheckGeometry() == nil && len(s.Headers()) != s.Size[s.through] {
			t.Error("slices without headers")
		}
		var b bytes.Buffer
		if err := s.Image.WriteMask(&b, make([]uint8, len(s.HU))); err != nil {
			t.Fatal(err)
		}
		if back, err := Read(&b, 1<<16); err != nil || back.Size != s.Size {
			t.Errorf("mask: %v", err)
		}
	})
}
