package codec

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ichor/scp/dcm"
	"ichor/scp/dcm/codec/openjpeg"
)

var update = flag.Bool("update", false, "write what the foreign encoders make to testdata")

// encoder is a command of another system that compresses a file.
type encoder struct {
	name    string // of its files in testdata
	command []string
	pkg     string // that has the command
	syntax  string
	only    string // the picture it is for, "" for all
	not     string // pictures on which it fails, with spaces
	off     int    // the most by which a sample may differ
	big     bool   // also for a whole slice
}

func encoders() (list []encoder) {
	dcmtk := func(name, syntax, command string, args ...string) encoder {
		return encoder{name: name, command: append([]string{command}, args...), pkg: "dcmtk", syntax: syntax}
	}
	gdcm := func(name, syntax string, args ...string) encoder {
		return encoder{name: name, command: append([]string{"gdcmconv"}, args...), pkg: "libgdcm-tools", syntax: syntax}
	}
	for sv := 1; sv <= 7; sv++ {
		list = append(list, dcmtk(fmt.Sprintf("dcmtk-jpeg%d", sv), dcm.JPEGLossless, "dcmcjpeg", "+el", "+sv", fmt.Sprint(sv), "+un"))
	}
	list[5].big = true
	list = append(list,
		dcmtk("dcmtk-sv1", dcm.JPEGLosslessSV1, "dcmcjpeg", "+e1", "+un"),
		dcmtk("dcmtk-fragments", dcm.JPEGLosslessSV1, "dcmcjpeg", "+e1", "+un", "+fs", "1", "-ot"),
		dcmtk("dcmtk-rle", dcm.RLELossless, "dcmcrle"),
		dcmtk("dcmtk-jpls", dcm.JPEGLSLossless, "dcmcjpls"),
		dcmtk("dcmtk-bigendian", dcm.ExplicitVRBigEndian, "dcmconv", "+tb"),
		dcmtk("dcmtk-deflated", dcm.DeflatedExplicitVRLittleEndian, "dcmconv", "+td"),
		dcmtk("dcmtk-implicit", dcm.ImplicitVRLittleEndian, "dcmconv", "+ti"),
		gdcm("gdcm-sv1", dcm.JPEGLosslessSV1, "--jpeg"),
	)
	jpls := gdcm("gdcm-jpls", dcm.JPEGLSLossless, "--jpegls")
	rle, j2k := gdcm("gdcm-rle", dcm.RLELossless, "--rle"), gdcm("gdcm-j2k", dcm.JPEG2000Lossless, "--j2k")
	rle.not, j2k.not = "u8", "line rgb" // gdcm 3.0.21 aborts
	jpls.big, rle.big, j2k.big = true, true, true
	list = append(list, jpls, rle, j2k)
	for _, only := range []string{"u8", "u12", "u16", "rgb"} {
		near := dcmtk("dcmtk-near", dcm.JPEGLSNearLossless, "dcmcjpls", "+en", "+md", "2")
		near.only, near.off = only, 2
		list = append(list, near)
	}
	for _, interleave := range []string{"+il", "+is", "+in"} {
		e := dcmtk("dcmtk-jpls"+interleave[1:], dcm.JPEGLSLossless, "dcmcjpls", interleave)
		e.only = "rgb"
		list = append(list, e)
	}
	baseline := dcmtk("dcmtk-baseline", dcm.JPEGBaseline8Bit, "dcmcjpeg", "+eb", "+q", "99")
	baseline.only, baseline.off = "u8", 12
	return append(list, baseline)
}

// decoder is one with all that this machine has.
func decoder(t testing.TB) *Decoder {
	t.Helper()
	d, missing := Detect(t.Context())
	if missing != nil {
		t.Log(missing)
	}
	return d
}

// TestForeignEncoders has dcmtk and gdcm compress each picture, and decodes what they made.
func TestForeignEncoders(t *testing.T) {
	d := decoder(t)
	for _, e := range encoders() {
		t.Run(e.name, func(t *testing.T) {
			if _, err := exec.LookPath(e.command[0]); err != nil {
				t.Skipf("%s is missing: install %s", e.command[0], e.pkg)
			}
			if _, err := openjpeg.Find(t.Context()); err != nil && e.syntax == dcm.JPEG2000Lossless {
				t.Skip(err)
			}
			pics := pictures()
			if !e.big && strings.HasPrefix(e.name, "dcmtk-jpeg") || e.name == "dcmtk-implicit" {
				pics = pics[:1] // shapes are tried with one encoder of a kind; each run of a command costs
			}
			if e.big {
				pics = append(pics, slice())
			}
			for _, p := range pics {
				if e.only != "" && e.only != p.name || slices.Contains(strings.Fields(e.not), p.name) {
					continue
				}
				if made := e.encode(t, p); made != nil {
					e.check(t, d, p, made)
					if *update && e.keeps(p) {
						if err := os.WriteFile(filepath.Join("testdata", p.name+"_"+e.name+".dcm"), made, 0o644); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		})
	}
}

// keeps says which files are worth a place in testdata.
func (e *encoder) keeps(p picture) bool {
	every := []string{"dcmtk-sv1", "dcmtk-rle", "dcmtk-jpls", "dcmtk-bigendian", "gdcm-j2k"}
	return p.name == "s16" || e.only != "" || p.name != "slice" && slices.Contains(every, e.name)
}

func (e *encoder) encode(t testing.TB, p picture) []byte {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.dcm"), filepath.Join(dir, "out.dcm")
	if err := os.WriteFile(in, p.file(t), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), e.command[0], append(e.command[1:len(e.command):len(e.command)], in, out)...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %s: %v\n%s", p.name, e.command, err, said)
		return nil
	}
	made, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// check decodes a file and compares it with the picture.
func (e *encoder) check(t *testing.T, d *Decoder, p picture, file []byte) {
	t.Helper()
	f := open(t, file)
	if f.Meta.TransferSyntaxUID != e.syntax {
		t.Errorf("%s: in %s", p.name, dcm.UIDName(f.Meta.TransferSyntaxUID))
	}
	got, err := d.Pixels(t.Context(), f)
	if err != nil {
		t.Errorf("%s: %v", p.name, err)
		return
	}
	if e.off == 0 && !bytes.Equal(got, p.pixels) || difference(got, p.pixels, p.bits) > e.off {
		t.Errorf("%s: %d bytes, differs by %d", p.name, len(got), difference(got, p.pixels, p.bits))
	}
}

// difference is the largest between two samples.
func difference(a, b []byte, bits int) (most int) {
	if len(a) != len(b) {
		return 1 << 16
	}
	for i := 0; i < len(a); i += bits / 8 {
		x, y := int(a[i]), int(b[i])
		if bits == 16 {
			x, y = x|int(a[i+1])<<8, y|int(b[i+1])<<8
		}
		most = max(most, x-y, y-x)
	}
	return most
}
