package scp

import (
	"bytes"
	"net"
	"path/filepath"
	"slices"
	"testing"

	"ichor/scp/dcm"
	"ichor/scp/dcm/codec"
	"ichor/scp/spool"
)

// TestCompressed sends compressed objects: they are taken as they are, kept as they were, and decode to what they were
// made of. A server without the codecs does not take them.
func TestCompressed(t *testing.T) {
	dcmsend := tool(t, "dcmsend")
	decoder, missing := codec.Detect(t.Context())
	offered := decoder.TransferSyntaxes()
	read := func(a *appliance) (string, []byte) {
		t.Helper()
		objects := a.spool.Study("2.25.2")
		if len(objects) != 1 {
			t.Fatalf("%d objects", len(objects))
		}
		r, err := a.spool.Read(objects[0])
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		f, err := dcm.Read(r, r.Size(), dcm.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		pixels, err := decoder.Pixels(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		return objects[0].TransferSyntaxUID, pixels
	}
	var want []byte
	for _, c := range []struct{ file, syntax string }{
		{"s16_dcmtk-deflated", dcm.DeflatedExplicitVRLittleEndian}, // first: the others are compared with it
		{"s16_dcmtk-sv1", dcm.JPEGLosslessSV1},
		{"s16_dcmtk-jpeg6", dcm.JPEGLossless},
		{"s16_dcmtk-jpls", dcm.JPEGLSLossless},
		{"s16_dcmtk-rle", dcm.RLELossless},
		{"s16_gdcm-j2k", dcm.JPEG2000Lossless},
	} {
		t.Run(c.file, func(t *testing.T) {
			if !slices.Contains(offered, c.syntax) {
				t.Skip(missing)
			}
			path := filepath.Join("dcm", "codec", "testdata", c.file+".dcm")
			a := serve(t, Options{TransferSyntaxes: offered}, spool.Options{})
			host, port, _ := net.SplitHostPort(a.address)
			if out, err := command(t, dcmsend, "-dn", "-aet", "SCANNER", "-aec", "ICHOR", host, port, path); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			a.stop()
			syntax, pixels := read(a)
			if want == nil {
				want = pixels
			}
			if syntax != c.syntax || len(want) == 0 || !bytes.Equal(pixels, want) {
				t.Errorf("kept in %s, %d bytes", dcm.UIDName(syntax), len(pixels))
			}
		})
	}
	a := serve(t, Options{}, spool.Options{})
	host, port, _ := net.SplitHostPort(a.address)
	out, _ := command(t, dcmsend, "-dn", "-aet", "SCANNER", "-aec", "ICHOR", host, port, filepath.Join("dcm", "codec", "testdata", "s16_dcmtk-jpls.dcm"))
	a.stop()
	// What cannot be decoded and is not proposed otherwise is stored all the same: the sender may have more of the study.
	if n := len(a.spool.Study("2.25.2")); n != 1 {
		t.Errorf("%d objects\n%s", n, out)
	}
}
