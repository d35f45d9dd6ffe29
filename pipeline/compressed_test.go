package pipeline

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/selection"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
	"ichor/scp/dcm/codec"
	"ichor/scp/dcm/codec/openjpeg"
)

// small is a head of few slices and pixels, which foreign encoders compress one file at a time.
func small() synthetic.Shape {
	s := shape()
	s.Rows, s.Columns, s.PixelSpacingMM = 64, 64, 3.4
	for z := -60.0; z <= 50; z += 10 {
		s.PositionsMM = append(s.PositionsMM, volume.Vec{-110, -110, z})
	}
	return s
}

// read builds the volume of a study, as Analyze does before any network runs.
func read(t *testing.T, s Study, d Decoder) (*volume.Volume, *running, error) {
	t.Helper()
	r := &running{}
	in, err := readStudy(t.Context(), s, selection.Options{}, r)
	if err != nil {
		t.Fatal(err)
	}
	c, err := choose(in, selection.Options{}, r)
	if err != nil {
		t.Fatal(err)
	}
	v, err := build(t.Context(), in, c, d, r)
	return v, r, err
}

// TestCompressedStudy has dcmtk and gdcm compress a study: its volume is that of the study as it was, voxel by voxel.
func TestCompressedStudy(t *testing.T) {
	t.Parallel()
	decoder, missing := codec.Detect(t.Context())
	plain := study(t, synthetic.Head(small()), nil)
	want, _, err := read(t, plain, decoder)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, pkg string
		command   []string
	}{
		{"JPEG Lossless SV1", "dcmtk", []string{"dcmcjpeg", "+e1"}},
		{"JPEG-LS", "dcmtk", []string{"dcmcjpls"}},
		{"big endian", "dcmtk", []string{"dcmconv", "+tb"}},
		{"deflated", "dcmtk", []string{"dcmconv", "+td"}},
		{"JPEG 2000", "libgdcm-tools", []string{"gdcmconv", "--j2k"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.command[0] == "gdcmconv" && missing != nil {
				t.Skip(missing)
			}
			s := compress(t, plain, c.pkg, c.command...)
			got, r, err := read(t, s, decoder)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.HU, want.HU) || !slices.Equal(got.Origins, want.Origins) || slices.ContainsFunc(r.Finding.Warnings, tellsLoss) {
				t.Errorf("another volume, or warnings %q", r.Finding.Warnings)
			}
		})
	}
}

func tellsLoss(warning string) bool { return strings.Contains(warning, "compressed lossily") }

// TestLossyStudy: a finding on lossy pixels says so, whether they still are compressed or not.
func TestLossyStudy(t *testing.T) {
	t.Parallel()
	lossy := func(of int, s *synthetic.Study) Study {
		return study(t, s, func(k int, d *dcm.DataSet) {
			if k < of {
				d.SetStrings(dcm.LossyImageCompression, "CS", "01")
			}
		})
	}
	for of, want := range map[int]string{0: "", 5: "5 of 12 slices were compressed lossily", 12: "12 of 12 slices were compressed lossily"} {
		_, r, err := read(t, lossy(of, synthetic.Head(small())), nil)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(r.Finding.Warnings, "\n")
		if !strings.Contains(got, want) || tellsLoss(got) != (want != "") {
			t.Errorf("%d lossy slices: warnings %q", of, got)
		}
	}
	plain := lossy(0, synthetic.Head(small()))
	near := compress(t, plain, "libgdcm-tools", "gdcmconv", "--jpegls", "--lossy", "-e", "2")
	v, r, err := read(t, near, codec.New(codec.Options{}))
	if err != nil || !slices.ContainsFunc(r.Finding.Warnings, tellsLoss) {
		t.Fatalf("near-lossless: warnings %q, %v", r.Finding.Warnings, err)
	}
	want, _, err := read(t, plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range v.HU {
		if d := v.HU[i] - want.HU[i]; d < -2 || d > 2 {
			t.Fatalf("voxel %d is %d HU, was %d", i, v.HU[i], want.HU[i])
		}
	}
}

// TestUndecodable: what cannot be decoded here refuses the study, and names the transfer syntax.
func TestUndecodable(t *testing.T) {
	t.Parallel()
	plain := study(t, synthetic.Head(small()), nil)
	tool, err := openjpeg.Find(t.Context())
	if err != nil {
		t.Skip(err)
	}
	j2k := compress(t, plain, "libgdcm-tools", "gdcmconv", "--j2k")
	damaged := Study{UID: j2k.UID, Objects: slices.Clone(j2k.Objects)}
	bytes := damaged.Objects[6].(memory).data
	damaged.Objects[6] = memory{data: bytes[:len(bytes)-200]}
	for name, c := range map[string]struct {
		s Study
		d Decoder
	}{
		"no decoder":  {j2k, nil},
		"no OpenJPEG": {j2k, codec.New(codec.Options{})},
		"cut off":     {damaged, codec.New(codec.Options{OpenJPEG: tool})},
	} {
		_, _, err := read(t, c.s, c.d)
		var refusal *finding.Refusal
		if !errors.As(err, &refusal) || refusal.Code != finding.Undecodable || !strings.Contains(refusal.Reason, "JPEG 2000") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// compress has a command compress every other object of a study.
func compress(t *testing.T, s Study, pkg string, command ...string) Study {
	t.Helper()
	if _, err := exec.LookPath(command[0]); err != nil {
		t.Skipf("%s is missing: install %s", command[0], pkg)
	}
	out := Study{UID: s.UID, Complete: s.Complete}
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from.dcm"), filepath.Join(dir, "to.dcm")
	for i, o := range s.Objects {
		if i%2 != 0 {
			out.Objects = append(out.Objects, o)
			continue
		}
		if err := os.WriteFile(from, o.(memory).data, 0o600); err != nil {
			t.Fatal(err)
		}
		if said, err := exec.CommandContext(t.Context(), command[0], append(command[1:len(command):len(command)], from, to)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, said)
		}
		b, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		out.Objects = append(out.Objects, memory{data: b})
	}
	return out
}
