package deliver

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"ichor/pipeline/state"
	"ichor/scp/dcm"
)

// TestOpenWithoutPixels re-encodes an object that is all header, as a structured report is.
func TestOpenWithoutPixels(t *testing.T) {
	d := &dcm.DataSet{}
	d.SetStrings(dcm.SOPClassUID, "UI", dcm.Comprehensive3DSRStorage)
	d.SetStrings(dcm.SOPInstanceUID, "UI", "1.2.3")
	d.SetStrings(dcm.PatientID, "LO", "A1")
	var file bytes.Buffer
	if err := dcm.WriteFile(&file, dcm.FileMeta{TransferSyntaxUID: dcm.ExplicitVRLittleEndian}, d); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sr.dcm")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, syntax := range []string{dcm.ExplicitVRLittleEndian, dcm.ImplicitVRLittleEndian} {
		r, err := openObject(state.Delivery{Path: path, TransferSyntaxUID: dcm.ExplicitVRLittleEndian}, syntax)
		if err != nil {
			t.Errorf("%s: %v", dcm.UIDName(syntax), err)
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := dcm.WriteDataSet(&want, d, syntax); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s: %d bytes, want %d", dcm.UIDName(syntax), len(got), want.Len())
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
