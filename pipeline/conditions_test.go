package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ichor/pipeline/nifti"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/selection"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
	"ichor/scp/dcm/codec"
)

var update = flag.Bool("update", false, "rewrite docs/conditions.md")

const conditionsPage = "../docs/conditions.md"

// values are what a program reads of one image.
type values struct {
	Error string
	HU    string    // digest of the pixels in Hounsfield units
	Place []float64 // Pixel Spacing and Image Position (Patient)
}

// told is what v says beside the image as it was.
func (v values) told(was values) string {
	switch {
	case v.Error != "":
		return "fails"
	case v.HU != was.HU:
		return "other pixel values"
	case !slices.Equal(v.Place, was.Place):
		return "other geometry"
	}
	return "reads"
}

// valuesOf reads an image that another program wrote.
func valuesOf(path string) values {
	data, err := os.ReadFile(path)
	if err != nil {
		return values{Error: err.Error()}
	}
	f, err := dcm.Read(bytes.NewReader(data), int64(len(data)), dcm.Limits{})
	if err != nil {
		return values{Error: err.Error()}
	}
	raw, err := codec.New(codec.Options{}).Pixels(context.Background(), f)
	if err != nil {
		return values{Error: err.Error()}
	}
	stored, err := volume.StoredOf(f.Data, 0)
	if err != nil {
		return values{Error: err.Error()}
	}
	rows, _ := f.Data.Int(dcm.Rows)
	columns, _ := f.Data.Int(dcm.Columns)
	hu := make([]int16, rows*columns)
	if err := stored.Decode(raw, hu, ""); err != nil {
		return values{Error: err.Error()}
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, hu); err != nil {
		return values{Error: err.Error()}
	}
	sum := sha256.Sum256(b.Bytes())
	spacing, _ := f.Data.Floats(dcm.PixelSpacing)
	position, _ := f.Data.Floats(dcm.ImagePositionPatient)
	return values{HU: hex.EncodeToString(sum[:]), Place: append(spacing, position...)}
}

// conditions are those that other tests make, and those of values and patients.
func conditions() []oddity {
	stored := func(f func(v int) int) func(int, *dcm.DataSet) {
		return func(_ int, d *dcm.DataSet) {
			e, _ := d.Get(dcm.PixelData)
			px := bytes.Clone(e.Value.([]byte))
			for i := 0; i+1 < len(px); i += 2 {
				binary.LittleEndian.PutUint16(px[i:], uint16(f(int(int16(binary.LittleEndian.Uint16(px[i:]))))))
			}
			d.SetBytes(dcm.PixelData, "OW", px)
		}
	}
	return append(oddities(),
		oddity{name: "pixels of Hounsfield units + 1024 that the header does not mention", edit: func(_ int, d *dcm.DataSet) { d.SetDecimals(dcm.RescaleIntercept, 0) }},
		oddity{name: "negative pixels of 12 bits under Pixel Representation 0", edit: func(k int, d *dcm.DataSet) {
			stored(func(v int) int { return (v - 1024) & 0xFFF })(k, d)
			d.SetDecimals(dcm.RescaleIntercept, 0)
		}},
		oddity{name: "negative pixels of 16 bits under Pixel Representation 0", edit: func(k int, d *dcm.DataSet) {
			stored(func(v int) int { return v - 1024 })(k, d)
			d.SetInts(dcm.BitsStored, "US", 16)
			d.SetInts(dcm.HighBit, "US", 15)
			d.SetDecimals(dcm.RescaleIntercept, 0)
		}},
		oddity{name: "half of the Rescale Slope", edit: func(_ int, d *dcm.DataSet) { d.SetDecimals(dcm.RescaleSlope, 0.5) }},
		oddity{name: "Rescale Intercept 40 too high", edit: func(_ int, d *dcm.DataSet) { d.SetDecimals(dcm.RescaleIntercept, -984) }},
		oddity{name: "Rescale Intercept 0 in one slice", image: 6, edit: func(k int, d *dcm.DataSet) {
			if k == 6 {
				d.SetDecimals(dcm.RescaleIntercept, 0)
			}
		}},
		oddity{name: "one black slice", image: 6, edit: func(k int, d *dcm.DataSet) {
			if k == 6 {
				stored(func(int) int { return 0 })(k, d)
			}
		}},
		oddity{name: "Rescale Intercept differs by slice, with the pixels that belong to it", edit: func(k int, d *dcm.DataSet) {
			stored(func(v int) int { return v + 8*k })(k, d)
			d.SetDecimals(dcm.RescaleIntercept, float64(-1024-8*k))
		}},
		oddity{name: "pixels of a display window", edit: stored(func(v int) int { return min(max((v-1024)*255/80, 0), 255) })},
		oddity{name: "two patients in one study", edit: func(k int, d *dcm.DataSet) {
			if k%2 == 0 {
				d.SetStrings(dcm.PatientID, "LO", "ANOTHER")
			}
		}},
		oddity{name: "cut off in the pixels", file: func(_ *testing.T, _ int, file []byte) []byte { return file[:len(file)-100] }},
	)
}

// ichor says what becomes of a study with a condition.
func ichor(t *testing.T, in Study, was *volume.Volume, usual []string) string {
	t.Helper()
	d := codec.New(codec.Options{})
	f, err := Select(t.Context(), in, d, selection.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f.Code != "" {
		return "refuses: `" + f.Code + "`"
	}
	v, _, err := read(t, in, d)
	if err != nil {
		t.Fatal(err)
	}
	said := "reads"
	if !slices.Equal(v.HU, was.HU) {
		said = "other pixel values"
	} else if !slices.Equal(v.Origins, was.Origins) || v.SpacingMM != was.SpacingMM {
		said = "other geometry"
	}
	if slices.ContainsFunc(f.Warnings, func(w string) bool { return !slices.Contains(usual, w) }) {
		said += ", with a warning"
	}
	return said
}

// TestConditions writes an image of each condition, has other programs read it, and compares what they and ichor make of it
// with docs/conditions.md. Other versions of them may read it otherwise: then the page says nothing, and the test is skipped.
func TestConditions(t *testing.T) {
	t.Parallel()
	const dcmtk, gdcm = "/usr/bin/dcmconv", "/usr/bin/gdcmconv" // other packages install programs of the same names
	python := cmp.Or(os.Getenv("ICHOR_PYTHON"), "python3")
	version := func(name string, args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
		found := regexp.MustCompile(`\d+\.\d+\.\d+`).FindString(string(out))
		if err != nil || found == "" {
			t.Skipf("%s is missing: dcmtk, libgdcm-tools and ICHOR_PYTHON with pydicom and nibabel are needed", name)
		}
		return found
	}
	versions := fmt.Sprintf("dcmtk %s, gdcm %s, pydicom %s, nibabel %s", version(dcmtk, "--version"), version(gdcm, "--version"), version(python, "-c", "import pydicom; print(pydicom.__version__)"),
		version(python, "-c", "import nibabel; print(nibabel.__version__)"))
	page, err := os.ReadFile(conditionsPage)
	if err != nil && !*update {
		t.Fatal(err)
	}
	if !*update && !strings.Contains(string(page), versions) {
		t.Skipf("the page is not about %s", versions)
	}

	dir := t.TempDir()
	s := synthetic.Head(small())
	plain := study(t, s, nil)
	was, usual, err := read(t, plain, codec.New(codec.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name+".dcm")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	convert := func(name string, args ...string) values {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
			return values{Error: fmt.Sprint(err, string(out))}
		}
		return valuesOf(args[len(args)-1])
	}
	list := conditions()
	paths, images := make([]string, len(list)), make([]int, len(list))
	studies := make([]Study, len(list))
	for i, c := range list {
		studies[i] = c.of(t, s)
		for k, o := range studies[i].Objects { // the first image that is changed
			if c.file != nil && bytes.Equal(o.(memory).data[132:], plain.Objects[k].(memory).data[132:]) {
				continue
			}
			if k < c.image {
				continue
			}
			images[i], paths[i] = k, write(fmt.Sprint(i), o.(memory).data)
			break
		}
	}
	originals := make([]values, len(plain.Objects))
	for k, o := range plain.Objects {
		originals[k] = valuesOf(write(fmt.Sprint("plain", k), o.(memory).data))
	}
	out, err := exec.CommandContext(t.Context(), python, append([]string{"testdata/values.py"}, paths...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	pydicom := strings.Split(strings.TrimSpace(string(out)), "\n")[1:]
	if len(pydicom) != len(list) {
		t.Fatalf("%d answers of pydicom about %d files", len(pydicom), len(list))
	}

	var b strings.Builder
	fmt.Fprintf(&b, `# Conditions

What other software and ichor make of images that devices, archives and tools write otherwise than the standard has it.
The tests make each condition; this page is written by them: `+"`go test ./pipeline -run TestConditions -update`"+`.

Each program reads one image of a study with the condition: dcmconv to Explicit VR Little Endian, gdcmconv to uncompressed
pixels, pydicom with its pixel_array, all with their default settings. What dcmconv and gdcmconv write is read by ichor, so
values that they copy as they stand count as read. ichor itself reads the whole study. Versions:
%s.

- **reads**: the same pixel values and geometry as in the image without the condition.
- **other pixel values**, **other geometry**: it reads the image, and has other values without an error.
- **fails**: it reports an error, or what it writes cannot be read.
- **refuses**: the study has a finding that says why it was not analysed, under this code.

|Condition|dcmtk|gdcm|pydicom|ichor|
|---|---|---|---|---|
`, versions)
	for i, c := range list {
		original := originals[images[i]]
		var read values
		if err := json.Unmarshal([]byte(pydicom[i]), &read); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", c.name,
			convert(dcmtk, "+te", paths[i], filepath.Join(dir, fmt.Sprintf("%d-dcmtk.dcm", i))).told(original),
			convert(gdcm, "--raw", paths[i], filepath.Join(dir, fmt.Sprintf("%d-gdcm.dcm", i))).told(original),
			read.told(original), ichor(t, studies[i], was, usual.Finding.Warnings))
	}
	niftiConditions(t, &b, python)
	if *update {
		if err := os.WriteFile(conditionsPage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if b.String() != string(page) {
		t.Errorf("docs/conditions.md is not what the programs do now: run go test ./pipeline -run TestConditions -update\n%s", b.String())
	}
}

// niftiConditions writes the table of NIfTI files, which nibabel makes and reads.
func niftiConditions(t *testing.T, b *strings.Builder, python string) {
	t.Helper()
	dir := t.TempDir()
	base := filepath.Join(dir, "base.nii")
	if err := os.WriteFile(base, niftiOf(synthetic.Head(small()), stored{axis: [3]int{0, 1, 2}, back: [3]bool{true, true, false}}, asStored), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), python, "testdata/nifti_conditions.py", base, dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	b.WriteString(`
## NIfTI

The same for NIfTI files, which nibabel makes, and reads with its defaults. Values are compared as 16-bit integers; NaN
counts as air.

|Condition|nibabel|ichor|
|---|---|---|
`)
	var original values
	var usual []string
	for line := range strings.Lines(string(out)) {
		var said struct {
			Name, Path string
			values
		}
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			t.Fatal(err)
		}
		if original.HU == "" {
			original = said.values
		}
		data, err := os.ReadFile(said.Path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", said.Name, said.place().told(original), ichorOfNIfTI(t, data, original, &usual))
	}
}

// place rounds the geometry, which many files have in single precision.
func (v values) place() values {
	for i, x := range v.Place {
		v.Place[i] = math.Round(x*1e3) / 1e3
	}
	return v
}

// ichorOfNIfTI says what becomes of a file. usual are the warnings of the first one.
func ichorOfNIfTI(t *testing.T, file []byte, original values, usual *[]string) string {
	t.Helper()
	in := scan(file)
	f, err := Select(t.Context(), in, nil, selection.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f.Code != "" {
		return "refuses: `" + f.Code + "`"
	}
	v, _, err := read(t, in, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := nifti.Read(bytes.NewReader(file), 1e9)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	if err := binary.Write(sum, binary.LittleEndian, v.HU); err != nil { // slices, rows and columns are in the order of the file
		t.Fatal(err)
	}
	got := values{HU: hex.EncodeToString(sum.Sum(nil)), Place: slices.Concat(m.Affine[0][:], m.Affine[1][:], m.Affine[2][:])}
	said := got.place().told(original)
	if *usual == nil {
		*usual = append([]string{}, f.Warnings...)
	}
	if slices.ContainsFunc(f.Warnings, func(w string) bool { return !slices.Contains(*usual, w) }) {
		said += ", with a warning"
	}
	return said
}
