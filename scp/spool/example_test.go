package spool_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"

	"ichor/scp/dcm"
	"ichor/scp/spool"
)

// Store one object and find it by its study. Success may be answered to the sender when Commit has returned.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := spool.Open(ctx, spool.Options{Dir: dir, ReserveBytes: -1})
	if err != nil {
		log.Fatal(err)
	}

	image := &dcm.DataSet{}
	image.SetStrings(dcm.SOPClassUID, "UI", dcm.CTImageStorage)
	image.SetStrings(dcm.SOPInstanceUID, "UI", "2.25.1")
	image.SetStrings(dcm.StudyInstanceUID, "UI", "2.25.2")
	image.SetStrings(dcm.SeriesInstanceUID, "UI", "2.25.3")
	var data bytes.Buffer
	if err := dcm.WriteDataSet(&data, image, dcm.ExplicitVRLittleEndian); err != nil {
		log.Fatal(err)
	}

	association := s.Intake() // one per association, used by one goroutine
	w, err := association.Create(dcm.CTImageStorage, "2.25.1", dcm.ExplicitVRLittleEndian, "SCANNER")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := w.ReadFrom(&data); err != nil {
		log.Fatal(err)
	}
	if _, _, err := w.Commit(); err != nil { // the object is on disk now
		log.Fatal(err)
	}
	if err := association.Close(); err != nil {
		log.Fatal(err)
	}
	for _, o := range s.Study("2.25.2") {
		fmt.Println(o.SOPInstanceUID, "from", o.CallingAE)
	}
	if err := s.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 2.25.1 from SCANNER
}
