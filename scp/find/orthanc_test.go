package find

import (
	"bytes"
	"fmt"
	"testing"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/scptest"
	"ichor/scp/ul"
)

// TestOrthanc counts the objects that Orthanc has of a study, and asks for one that it does not have.
func TestOrthanc(t *testing.T) {
	t.Parallel()
	archive := scptest.StartOrthanc(t, map[string]any{
		"DicomModalities": map[string]any{"ichor": []any{"ICHOR", "127.0.0.1", 1}}, "DicomCheckModalityHost": true,
	})
	o := dimse.ConnectOptions{Address: archive.DICOM, CallingAE: "ICHOR", CalledAE: "ORTHANC", Contexts: []ul.ProposedContext{
		{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{dcm.ExplicitVRLittleEndian}}}}
	scu, err := dimse.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		d := &dcm.DataSet{}
		uid := fmt.Sprint("1.2.826.0.77.", i)
		d.SetStrings(dcm.SOPClassUID, "UI", dcm.CTImageStorage)
		d.SetStrings(dcm.SOPInstanceUID, "UI", uid)
		d.SetStrings(dcm.StudyInstanceUID, "UI", "1.2.826.0.7")
		d.SetStrings(dcm.SeriesInstanceUID, "UI", fmt.Sprint("1.2.826.0.7.", i%2))
		d.SetStrings(dcm.PatientID, "LO", "A1")
		var b bytes.Buffer
		if err := dcm.WriteDataSet(&b, d, dcm.ExplicitVRLittleEndian); err != nil {
			t.Fatal(err)
		}
		if _, err := scu.Store(t.Context(), dimse.StoreRequest{SOPClassUID: dcm.CTImageStorage, SOPInstanceUID: uid, TransferSyntaxUID: dcm.ExplicitVRLittleEndian, Data: &b}); err != nil {
			t.Fatal(err)
		}
	}
	if err := scu.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := Count(t.Context(), o, "1.2.826.0.7"); n != 5 || err != nil {
		t.Errorf("%d objects, error %v", n, err)
	}
	if n, err := Count(t.Context(), o, "1.2.826.0.8"); n != 0 || err != ErrUnknown {
		t.Errorf("of a study that is not there: %d objects, error %v", n, err)
	}
}
