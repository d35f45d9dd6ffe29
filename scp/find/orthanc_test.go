package find

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

// TestOrthanc counts the objects that Orthanc has of a study, and asks for one that it does not have.
func TestOrthanc(t *testing.T) {
	const program = "/usr/sbin/Orthanc"
	if _, err := os.Stat(program); err != nil {
		t.Skip("Orthanc not found: install the Debian package orthanc")
	}
	dir := t.TempDir()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	settings, err := json.Marshal(map[string]any{
		"DicomAet": "ORTHANC", "DicomPort": ln.Addr().(*net.TCPAddr).Port, "HttpServerEnabled": false,
		"StorageDirectory": filepath.Join(dir, "storage"), "IndexDirectory": filepath.Join(dir, "index"), "Plugins": []string{},
		"DicomModalities": map[string]any{"ichor": []any{"ICHOR", "127.0.0.1", 1}}, "DicomCheckModalityHost": true,
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "orthanc.json")
	if err := os.WriteFile(file, settings, 0o600); err != nil {
		t.Fatal(err)
	}
	ln.Close()
	cmd := exec.Command(program, file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }() // its folder is the test's
	o := dimse.ConnectOptions{Address: address, CallingAE: "ICHOR", CalledAE: "ORTHANC", Contexts: []ul.ProposedContext{
		{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{dcm.ExplicitVRLittleEndian}}}}
	var scu *dimse.SCU
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if scu, err = dimse.Connect(t.Context(), o); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("Orthanc does not answer: %v", err)
		}
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
