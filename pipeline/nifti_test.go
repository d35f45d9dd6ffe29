package pipeline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/nifti"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/selection"
	"ichor/pipeline/volume"
)

// stored says how a study is laid out in a file: which of column, row and slice (0, 1, 2) each axis runs along, and whether
// backwards.
type stored struct {
	axis [3]int
	back [3]bool
}

// niftiOf writes a study as NIfTI-2, whose geometry is in double precision. value is what stands in the file for a value in HU.
func niftiOf(s *synthetic.Study, as stored, value func(hu int16) int16) []byte {
	size := [3]int{s.Columns, s.Rows, len(s.PositionsMM)}
	g := s.Grid()
	step := [3]volume.Vec{g.AlongRow.Scale(g.SpacingMM[1]), g.AlongColumn.Scale(g.SpacingMM[0]),
		g.Origins[size[2]-1].Sub(g.Origins[0]).Scale(1 / float64(size[2]-1))}
	origin := g.Origins[0]
	f := make([]byte, 544)
	put := func(at int, v float64) { binary.LittleEndian.PutUint64(f[at:], math.Float64bits(v)) }
	binary.LittleEndian.PutUint32(f, 540)
	copy(f[4:], "n+2\x00\r\n\x1a\n")
	f[12], f[14], f[16], f[168], f[169], f[348], f[500] = 4, 16, 3, 544&0xFF, 544>>8, 1, 2
	for i, a := range as.axis {
		binary.LittleEndian.PutUint64(f[24+8*i:], uint64(size[a]))
		along := step[a]
		if as.back[i] {
			origin, along = origin.Add(along.Scale(float64(size[a]-1))), along.Scale(-1)
		}
		put(112+8*i, along.Length())
		put(400+8*i, -along[0]) // x and y of NIfTI run the other way
		put(432+8*i, -along[1])
		put(464+8*i, along[2])
	}
	put(424, -origin[0])
	put(456, -origin[1])
	put(488, origin[2])
	for k := range size[as.axis[2]] {
		for j := range size[as.axis[1]] {
			for i := range size[as.axis[0]] {
				var at [3]int // column, row, slice
				for n, v := range [3]int{i, j, k} {
					if as.back[n] {
						v = size[as.axis[n]] - 1 - v
					}
					at[as.axis[n]] = v
				}
				f = binary.LittleEndian.AppendUint16(f, uint16(value(s.HU[(at[2]*s.Rows+at[1])*s.Columns+at[0]])))
			}
		}
	}
	return f
}

func asStored(hu int16) int16 { return hu }

func scan(file []byte) Study { return Study{NIfTI: memory{data: file}, Complete: "files"} }

// TestNIfTI: a head in a NIfTI file gives what the same head gives as DICOM, however the file is laid out, and the mask lies on
// the voxels of the file.
func TestNIfTI(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(shape())
	want := look(t, study(t, s, nil))
	for name, c := range map[string]struct {
		study *synthetic.Study
		as    stored
	}{
		"as DICOM":             {s, stored{axis: [3]int{0, 1, 2}}},
		"right, front, head":   {s, stored{axis: [3]int{0, 1, 2}, back: [3]bool{true, true, false}}},
		"all backwards":        {s, stored{axis: [3]int{0, 1, 2}, back: [3]bool{true, true, true}}},
		"slices first":         {s, stored{axis: [3]int{2, 1, 0}, back: [3]bool{true}}},
		"rows first":           {s, stored{axis: [3]int{1, 0, 2}, back: [3]bool{false, true, false}}},
		"tilted gantry":        {s.Tilted(15), stored{axis: [3]int{0, 1, 2}, back: [3]bool{true, true, false}}},
		"tilted, slices first": {s.Tilted(-20), stored{axis: [3]int{2, 0, 1}}},
		"turned head":          {s.HeadTurned(0), stored{axis: [3]int{1, 2, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := scan(niftiOf(c.study, c.as, asStored))
			share, mm := 0.005, 0.05
			if strings.HasPrefix(name, "tilted") {
				share, mm = 0.1, 1.5
			}
			same(t, look(t, in), want, share, mm)
			r, err := analyzer().Analyze(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			f := r.Finding
			if f.Study.StudyInstanceUID != "" || f.Series.SeriesInstanceUID != "" || f.Candidates[0].SeriesInstanceUID != "" || len(f.Study.SHA256) != 64 {
				t.Errorf("identity %+v %+v", f.Study, f.Series)
			}
			if len(f.Warnings) > 0 {
				t.Errorf("warnings %q", f.Warnings)
			}
			var b bytes.Buffer
			if err := r.Scan.WriteMask(&b, r.Volume, r.Labels); err != nil {
				t.Fatal(err)
			}
			mask, err := nifti.Read(&b, 1e9)
			if err != nil {
				t.Fatal(err)
			}
			if mask.Affine != r.Scan.Affine || mask.Size != r.Scan.Size {
				t.Errorf("the mask lies at %v, the file at %v", mask.Affine, r.Scan.Affine)
			}
			var inFile, inVolume volume.Vec // sums of the positions of blood
			n := 0
			for i, l := range mask.HU {
				if l == 0 {
					continue
				}
				n++
				p := volume.Vec(mask.Origin())
				for a, at := range [3]int{i % mask.Size[0], i / mask.Size[0] % mask.Size[1], i / mask.Size[0] / mask.Size[1]} {
					p = p.Add(volume.Vec(mask.Axis(a)).Scale(float64(at)))
				}
				inFile = inFile.Add(p.Scale(float64(l)))
			}
			g := &r.Volume.Grid
			for i, l := range r.Labels.Voxels {
				if l != 0 {
					n--
					inVolume = inVolume.Add(g.Point(i/(g.Rows*g.Columns), float64(i/g.Columns%g.Rows), float64(i%g.Columns)).Scale(float64(l)))
				}
			}
			if d := inFile.Sub(inVolume).Length() / inVolume.Length(); n != 0 || !(d < 1e-6) {
				t.Errorf("the mask has %d voxels more, and blood lies %g elsewhere", n, d)
			}
		})
	}
}

// TestNIfTIRefused: what is no head in HU, or no axial stack, is refused with the reason, as DICOM is; what can be corrected is.
func TestNIfTIRefused(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(shape())
	plain := stored{axis: [3]int{0, 1, 2}, back: [3]bool{true, true, false}}
	whole := niftiOf(s, plain, asStored)
	patched := func(at int, v float64) []byte {
		f := slices.Clone(whole)
		binary.LittleEndian.PutUint64(f[at:], math.Float64bits(v))
		return f
	}
	noForm := slices.Clone(whole)
	noForm[348] = 0
	both := patched(104, 1)
	both[344] = 1
	for name, c := range map[string]struct {
		file      []byte
		code, say string
	}{
		"a mask":                             {niftiOf(s, plain, func(hu int16) int16 { return min(max(hu, 0), 1) }), finding.NotHounsfield, "not in Hounsfield units"},
		"a display window":                   {niftiOf(s, plain, func(hu int16) int16 { return min(max((hu)*255/80, 0), 255) }), finding.NotHounsfield, "not in Hounsfield units"},
		"1,024 too high":                     {niftiOf(s, plain, func(hu int16) int16 { return hu + 1024 }), "", "1024 was subtracted"},
		"neither form":                       {noForm, "", "Left and right may be exchanged"},
		"two forms":                          {both, "", "the sform was used"},
		"rows that slant":                    {patched(408, 0.4), finding.MissingPosition, "angle of"},
		"a stack that leans by 75 degrees":   {patched(416, 5*math.Tan(75*math.Pi/180)), finding.MissingPosition, "leans by 75.0 degrees from the normal of its slices (sform"},
		"a stack that leans by 50 degrees":   {patched(416, 5*math.Tan(50*math.Pi/180)), finding.MissingPosition, "leans by 50.0 degrees"},
		"a stack that leans by 30 degrees":   {patched(416, 5*math.Tan(30*math.Pi/180)), "", ""},
		"columns that lean to the head":      {patched(472, 2), finding.MissingPosition, "degrees"},
		"an infinite number":                 {patched(408, math.Inf(1)), finding.MissingPosition, "the sform has the number +Inf in row 1"},
		"an axis of zeros":                   {patched(400, 0), finding.MissingPosition, "the sform has voxels of 0 x"},
		"an axis in the plane of the others": {patched(480, 0), finding.MissingPosition, "the sform has"},
		"thick and sagittal":                 {niftiOf(s.Resampled(sagittal(), 5), plain, asStored), finding.NotAxial, "not axial"},
		"half of the voxels":                 {whole[:len(whole)/2], finding.Undecodable, "damaged or ends too early"},
		"no NIfTI":                           {[]byte(strings.Repeat("x", 1000)), finding.Undecodable, "not a NIfTI file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := Select(t.Context(), scan(c.file), nil, selection.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if said := strings.Join(append(f.Warnings, f.Reason), "\n"); f.Code != c.code || !strings.Contains(said, c.say) {
				t.Errorf("%q %q, want %q %q", f.Code, said, c.code, c.say)
			}
		})
	}
	if f, err := Select(t.Context(), scan(whole), nil, selection.Options{MaxVoxels: 1000}); err != nil || f.Code != finding.TooLarge {
		t.Errorf("%v %+v", err, f)
	}
	failed := errors.New("disk")
	if _, err := Select(t.Context(), Study{NIfTI: memory{fail: failed}}, nil, selection.Options{}); !errors.Is(err, failed) {
		t.Errorf("an error of the disk became %v", err)
	}
}

// sagittal is a grid of thick slices from side to side.
func sagittal() volume.Grid {
	g := volume.Grid{Rows: 120, Columns: 120, SpacingMM: [2]float64{2, 2}, AlongRow: volume.Vec{0, 1, 0}, AlongColumn: volume.Vec{0, 0, -1}}
	for x := -90.0; x <= 90; x += 5 {
		g.Origins = append(g.Origins, volume.Vec{x, -120, 120})
	}
	g.SupportMM = volume.Support(g.Gaps(), 5)
	return g
}
