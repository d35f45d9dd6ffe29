package config

import (
	"slices"
	"testing"
	"time"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	a, b := Default(), Default()
	b.DICOM.Peers = []Peer{}
	if keys := Diff(a, b); keys != nil {
		t.Errorf("the same settings differ in %v", keys)
	}
	b.DICOM.Peers = []Peer{{AETitle: "CT1"}}
	b.DICOM.TLS.RequireClient = false
	b.Retention = time.Hour
	if keys, want := Diff(a, b), []string{"dicom.tls.require_client_certificate", "dicom.peers", "retention"}; !slices.Equal(keys, want) {
		t.Errorf("%v, want %v", keys, want)
	}
}
