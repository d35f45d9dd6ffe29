package dimse_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/receiver"
	"ichor/scp/ul"
)

// Verify a peer with C-ECHO and store one object with C-STORE.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "pacs")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	pacs, err := receiver.Start(receiver.Options{AETitle: "PACS", Dir: dir}) // the peer
	if err != nil {
		log.Fatal(err)
	}
	defer pacs.Close()

	scu, err := dimse.Connect(ctx, dimse.ConnectOptions{
		Address: pacs.Address(), CallingAE: "EXAMPLE", CalledAE: "PACS",
		Contexts: []ul.ProposedContext{
			{AbstractSyntax: dcm.VerificationSOPClass, TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian}},
			{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{dcm.ExplicitVRLittleEndian}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := scu.Echo(ctx); err != nil {
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
	status, err := scu.Store(ctx, dimse.StoreRequest{
		SOPClassUID: dcm.CTImageStorage, SOPInstanceUID: "2.25.1",
		TransferSyntaxUID: dcm.ExplicitVRLittleEndian, Data: &data,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("C-STORE:", status)
	if err := scu.Release(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// C-STORE: 0000H success
}
