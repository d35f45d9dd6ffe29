package pipeline

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
	"ichor/scp/dcm/codec"
)

// frames makes a study of one multi-frame object whose frames come in any order.
func frames(t *testing.T, s *synthetic.Study, legacy bool, edit func(*dcm.DataSet)) Study {
	t.Helper()
	d, truth := s.Enhanced(synthetic.EnhancedOptions{Legacy: legacy, Order: rand.New(rand.NewPCG(9, 9)).Perm(len(s.PositionsMM))})
	if edit != nil {
		edit(d)
	}
	return Study{UID: truth.StudyInstanceUID, Objects: []Input{memory{data: encode(t, d)}}}
}

// countingDecoder counts the objects that it decodes.
type countingDecoder struct {
	*codec.Decoder
	n *atomic.Int32
}

func (c countingDecoder) Pixels(ctx context.Context, f *dcm.File) ([]byte, error) {
	c.n.Add(1)
	return c.Decoder.Pixels(ctx, f)
}

// A multi-frame object is read like the single images: the same voxels, the same finding, decoded once; and each slice
// knows its frame.
func TestEnhanced(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(shape())
	want, err := analyzer().Analyze(t.Context(), study(t, s, nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, legacy := range map[string]bool{"Enhanced CT": false, "Legacy Converted": true} {
		t.Run(name, func(t *testing.T) {
			a := analyzer()
			var decoded atomic.Int32
			a.o.Decoder = countingDecoder{codec.New(codec.Options{}), &decoded}
			r, err := a.Analyze(t.Context(), frames(t, s, legacy, nil))
			if err != nil || r.Finding.Status != finding.Analyzed {
				t.Fatalf("%v %+v", err, r)
			}
			if !slices.Equal(r.Volume.HU, want.Volume.HU) || !slices.Equal(r.Labels.Voxels, want.Labels.Voxels) || *r.Finding.Volumes != *want.Finding.Volumes {
				t.Errorf("other voxels or volumes: %+v, want %+v", r.Finding.Volumes, want.Finding.Volumes)
			}
			if len(r.Finding.Warnings) != 0 || decoded.Load() != 1 {
				t.Errorf("warnings %q, decoded %d times", r.Finding.Warnings, decoded.Load())
			}
			order := rand.New(rand.NewPCG(9, 9)).Perm(32)
			for k, src := range r.Volume.Sources {
				if src.Frame < 1 || order[src.Frame-1] != k || src.SOPInstanceUID != r.Volume.Sources[0].SOPInstanceUID {
					t.Fatalf("slice %d comes from %+v", k, src)
				}
			}
			h := r.Header
			if h.String(dcm.BodyPartExamined) != "HEAD" || h.String(dcm.ConvolutionKernel) != "STANDARD" || h.String(dcm.ImageType) != "ORIGINAL" ||
				h.String(dcm.AcquisitionDate) == "" || h.String(dcm.KVP) != "120" || h.String(dcm.AcquisitionNumber) != "1" {
				t.Errorf("header %v", h.Elements())
			}
		})
	}
}

func TestEnhancedCompressed(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(small())
	want, _, err := read(t, study(t, s, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	d, missing := codec.Detect(t.Context())
	for _, c := range [][]string{{"dcmcjpeg", "+e1"}, {"dcmcjpls"}, {"dcmcrle"}, {"gdcmconv", "--j2k"}} {
		t.Run(c[0], func(t *testing.T) {
			if _, err := exec.LookPath(c[0]); err != nil || c[0] == "gdcmconv" && missing != nil {
				t.Skip("install dcmtk, libgdcm-tools and openjpeg", err, missing)
			}
			in := compress(t, frames(t, s, false, nil), c[0], c...)
			f, err := open(in.Objects[0], func(*dcm.File) error { return nil })
			if err != nil || f.Pixels == nil || !f.Pixels.Encapsulated {
				t.Fatalf("not compressed: %v", err)
			}
			v, _, err := read(t, in, d)
			if err != nil || !slices.Equal(v.HU, want.HU) {
				t.Errorf("another volume, %v", err)
			}
		})
	}
}

// What a multi-frame object says wrongly of itself costs neither memory nor the process.
func TestEnhancedRefuses(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(small())
	shared := func(d *dcm.DataSet) *dcm.DataSet { return d.Sequence(dcm.SharedFunctionalGroupsSequence)[0] }
	each := func(d *dcm.DataSet) []*dcm.DataSet { return d.Sequence(dcm.PerFrameFunctionalGroupsSequence) }
	first := func(d *dcm.DataSet, t dcm.Tag) *dcm.DataSet { return d.Sequence(t)[0] }
	for _, c := range []struct {
		name string
		edit func(*dcm.DataSet)
		code string
	}{
		{"no functional groups", func(d *dcm.DataSet) { d.Delete(dcm.PerFrameFunctionalGroupsSequence) }, finding.Undecodable},
		{"more frames than groups", func(d *dcm.DataSet) { d.SetStrings(dcm.NumberOfFrames, "IS", "2000000000") }, finding.Undecodable},
		{"no frames", func(d *dcm.DataSet) { d.SetStrings(dcm.NumberOfFrames, "IS", "0") }, finding.Undecodable},
		{"more frames than pixels", func(d *dcm.DataSet) { d.SetBytes(dcm.PixelData, "OW", make([]byte, 64*64*2)) }, finding.Undecodable},
		{"pixels without size", func(d *dcm.DataSet) { d.SetInts(dcm.BitsAllocated, "US", 1) }, finding.Undecodable},
		{"no position", func(d *dcm.DataSet) { each(d)[3].Delete(dcm.PlanePositionSequence) }, finding.MissingPosition},
		{"no position inside", func(d *dcm.DataSet) { each(d)[3].SetSequence(dcm.PlanePositionSequence) }, finding.MissingPosition},
		{"no calibration", func(d *dcm.DataSet) { shared(d).Delete(dcm.PixelValueTransformationSequence) }, finding.MissingCalibration},
		{"effective atomic number", func(d *dcm.DataSet) {
			first(shared(d), dcm.PixelValueTransformationSequence).SetStrings(dcm.RescaleType, "LO", "Z_EFF")
		}, finding.NotHounsfield},
		{"iodine map", func(d *dcm.DataSet) {
			first(shared(d), dcm.CTImageFrameTypeSequence).SetStrings(dcm.FrameType, "CS", "ORIGINAL", "PRIMARY", "VOLUME", "MAT_SPECIFIC")
		}, finding.NotHounsfield},
		{"rendering", func(d *dcm.DataSet) {
			first(shared(d), dcm.CTImageFrameTypeSequence).SetStrings(dcm.VolumeBasedCalculationTechnique, "CS", "MAX_IP")
		}, finding.NotHounsfield},
		{"derived, and not axial", func(d *dcm.DataSet) {
			first(shared(d), dcm.PlaneOrientationSequence).SetDecimals(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0, -1)
			first(shared(d), dcm.CTImageFrameTypeSequence).SetStrings(dcm.FrameType, "CS", "DERIVED", "PRIMARY", "VOLUME", "NONE")
		}, finding.NotOriginal},
		{"two at one place", func(d *dcm.DataSet) {
			p, _ := first(each(d)[3], dcm.PlanePositionSequence).Get(dcm.ImagePositionPatient)
			first(each(d)[4], dcm.PlanePositionSequence).Put(p)
		}, finding.DuplicatePosition},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := analyzer().Analyze(t.Context(), frames(t, s, false, c.edit))
			if err != nil || r.Finding.Code != c.code {
				t.Errorf("%v %s %q, want %s", err, r.Finding.Code, r.Finding.Reason, c.code)
			}
		})
	}
}

// TestFramesInReasons: a reason about one frame names the frame, and one about the number of frames both numbers.
func TestFramesInReasons(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(small())
	whole := func(edit func(*dcm.DataSet)) Study { return frames(t, s, false, edit) }
	ct := func(_ int, d *dcm.DataSet) { d.SetStrings(dcm.NumberOfFrames, "IS", "32") }
	for name, c := range map[string]struct {
		study Study
		want  string
	}{
		"no position": {whole(func(d *dcm.DataSet) {
			d.Sequence(dcm.PerFrameFunctionalGroupsSequence)[3].Delete(dcm.PlanePositionSequence)
		}), "Frame 4 of the multi-frame image has no Image Position (Patient)"},
		"fewer groups": {whole(func(d *dcm.DataSet) {
			d.SetSequence(dcm.PerFrameFunctionalGroupsSequence, d.Sequence(dcm.PerFrameFunctionalGroupsSequence)[:5]...)
		}), "but Per-Frame Functional Groups Sequence (5200,9230) has 5 items"},
		"CT Image with frames": {study(t, synthetic.Head(small()), ct), "Number of Frames (0028,0008) is 32 in a CT Image"},
		"real numbers": {study(t, synthetic.Head(small()), func(_ int, d *dcm.DataSet) {
			d.Delete(dcm.PixelData)
			d.SetBytes(dcm.FloatPixelData, "OF", make([]byte, 64))
		}), "has no Pixel Data (7FE0,0010)"},
	} {
		for of, d := range map[string]Decoder{"native": nil, "with codecs": codec.New(codec.Options{})} {
			a := analyzer()
			a.o.Decoder = d
			if r, err := a.Analyze(t.Context(), c.study); err != nil || !strings.Contains(r.Finding.Reason, c.want) {
				t.Errorf("%s, %s: %v %q, want %q", name, of, err, r.Finding.Reason, c.want)
			}
		}
	}
}

// TestCopyOfMultiFrame: all frames of an object count whose other copy is used.
func TestCopyOfMultiFrame(t *testing.T) {
	t.Parallel()
	s := frames(t, synthetic.Head(shape()), false, nil)
	data := s.Objects[0].(memory).data
	s.Objects = []Input{memory{data: data[:len(data)-100]}, s.Objects[0]}
	r, err := analyzer().Analyze(t.Context(), s)
	if want := "32 of 32 images of the series have a copy"; err != nil || !strings.Contains(strings.Join(r.Finding.Warnings, " "), want) {
		t.Errorf("%v %+v", err, r.Finding)
	}
}

// Frames that are no slices are left out where others are: a localizer and a map inside the object.
func TestEnhancedMixedFrames(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(shape())
	r, err := analyzer().Analyze(t.Context(), frames(t, s, true, func(d *dcm.DataSet) {
		for i, kind := range []string{"LOCALIZER", "MAT_SPECIFIC"} {
			d.Sequence(dcm.PerFrameFunctionalGroupsSequence)[4+20*i].Sequence(dcm.CTImageFrameTypeSequence)[0].
				SetStrings(dcm.FrameType, "CS", "ORIGINAL", "PRIMARY", "AXIAL", kind)
		}
	}))
	if err != nil || r.Finding.Status != finding.Analyzed || r.Finding.Series.Slices != 30 {
		t.Fatalf("%v %+v", err, r.Finding)
	}
}

// A single image that carries a frame number is read as what it is.
func TestStrayFrameNumber(t *testing.T) {
	t.Parallel()
	v, _, err := read(t, study(t, synthetic.Head(small()), func(_ int, d *dcm.DataSet) { d.SetStrings(dcm.ReferencedFrameNumber, "IS", "9999") }), nil)
	if err != nil || v.Sources[3].Frame != 0 {
		t.Errorf("%v", err)
	}
}

// FuzzFrames: no header makes the expansion panic or grow beyond its bound.
func FuzzFrames(f *testing.F) {
	for _, legacy := range []bool{false, true} {
		sh := small()
		sh.Rows, sh.Columns = 4, 4
		d, _ := synthetic.Head(sh).Enhanced(synthetic.EnhancedOptions{Legacy: legacy})
		var b bytes.Buffer
		if err := dcm.WriteFile(&b, dcm.FileMeta{}, d); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := dcm.Read(bytes.NewReader(b), int64(len(b)), dcm.Limits{})
		if err != nil {
			return
		}
		frames, err := framesOf(in)
		if err != nil {
			return
		}
		volume.Arrange(frames)
		for _, h := range frames {
			volume.StoredOf(h, 0)
		}
	})
}

// TestEnhancedPeer has a foreign library read what the tests are made of, and make a multi-frame object of its own.
func TestEnhancedPeer(t *testing.T) {
	t.Parallel()
	python := os.Getenv("ICHOR_PYTHON")
	if python == "" {
		t.Skip("ICHOR_PYTHON names no Python with highdicom: run 'make test'")
	}
	dir := t.TempDir()
	s := synthetic.Head(small())
	want, _, err := read(t, study(t, s, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(filepath.Join(dir, "single"), synthetic.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", `
import sys, glob, pydicom
from pydicom.uid import generate_uid, ExplicitVRLittleEndian
from highdicom.legacy import LegacyConvertedEnhancedCTImage
files = [pydicom.dcmread(p) for p in sorted(glob.glob(sys.argv[1] + "/*.dcm"))]
out = LegacyConvertedEnhancedCTImage(files, series_instance_uid=generate_uid(), series_number=9, sop_instance_uid=generate_uid(),
    instance_number=1, transfer_syntax_uid=ExplicitVRLittleEndian)
out.save_as(sys.argv[2])
`, filepath.Join(dir, "single"), filepath.Join(dir, "multi.dcm"))
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	b, err := os.ReadFile(filepath.Join(dir, "multi.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	v, r, err := read(t, Study{Objects: []Input{memory{data: b}}}, nil)
	if err != nil || !slices.Equal(v.HU, want.HU) || !slices.Equal(v.Origins, want.Origins) {
		t.Errorf("another volume: %v, %+v", err, r.Finding.Candidates)
	}
}
