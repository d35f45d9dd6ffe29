package scp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/scptest"
	"ichor/scp/spool"
	"ichor/scp/ul"
)

const (
	siemensNonImage   = "1.3.12.2.1107.5.9.1"
	performedProtocol = "1.2.840.10008.5.1.4.1.1.200.2"
	privateQuery      = "1.2.40.0.13.1.5.1.4.1.2.2.1"
	studyRootFind     = "1.2.840.10008.5.1.4.1.2.2.1"
	hangingProtocol   = "1.2.840.10008.5.1.4.38.1"
	jpegXL            = "1.2.840.10008.1.2.4.110"
	privateSyntax     = "1.2.840.113619.5.2"
)

// TestStorageClasses: whatever a study can hold is accepted, in a transfer syntax that can be decoded where one is proposed;
// services are not, and what is not accepted is told with peer, class and count.
func TestStorageClasses(t *testing.T) {
	t.Parallel()
	plain := []string{dcm.ImplicitVRLittleEndian, dcm.ExplicitVRLittleEndian}
	for _, c := range []struct {
		name, class string
		proposed    []string
		standard    bool // private classes are off
		want        string
		reason      string // why it is not accepted
	}{
		{"CT", dcm.CTImageStorage, plain, false, dcm.ExplicitVRLittleEndian, ""},
		{"ultrasound", "1.2.840.10008.5.1.4.1.1.6.1", plain, false, dcm.ExplicitVRLittleEndian, ""},
		{"performed protocol", performedProtocol, plain, false, dcm.ExplicitVRLittleEndian, ""},
		{"a class to come", "1.2.840.10008.5.1.4.1.1.999.1", plain, false, dcm.ExplicitVRLittleEndian, ""},
		{"RT instruction", "1.2.840.10008.5.1.4.34.7", plain, false, dcm.ExplicitVRLittleEndian, ""},
		{"private", siemensNonImage, plain, false, dcm.ExplicitVRLittleEndian, ""},
		{"private, switched off", siemensNonImage, plain, true, "", UnsupportedClass},
		{"video", "1.2.840.10008.5.1.4.1.1.77.1.1.1", []string{"1.2.840.10008.1.2.4.103"}, false, "1.2.840.10008.1.2.4.103", ""},
		{"CT that cannot be decoded", dcm.CTImageStorage, []string{jpegXL}, false, jpegXL, ""},
		{"CT that can be sent otherwise", dcm.CTImageStorage, []string{jpegXL, dcm.ImplicitVRLittleEndian}, false, dcm.ImplicitVRLittleEndian, ""},
		{"private transfer syntax", dcm.CTImageStorage, []string{privateSyntax}, false, "", UnsupportedTransferSyntax},
		{"query", studyRootFind, plain, false, "", UnsupportedClass},
		{"private query", privateQuery, plain, false, "", UnsupportedClass},
		{"no part of a study", hangingProtocol, plain, false, "", UnsupportedClass},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := serve(t, Options{PrivateClasses: !c.standard}, spool.Options{})
			o := options(a)
			o.Contexts = []ul.ProposedContext{{AbstractSyntax: dcm.VerificationSOPClass, TransferSyntaxes: plain}, {AbstractSyntax: c.class, TransferSyntaxes: c.proposed}}
			s := connect(t, o)
			got := s.Accepted(c.class)
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || got[0] != c.want) {
				t.Errorf("accepted in %q, want %q", got, c.want)
			}
			if err := s.Release(t.Context()); err != nil {
				t.Error(err)
			}
			a.stop()
			told := ""
			for _, e := range a.events {
				if e.Kind == Unsupported {
					told += fmt.Sprint(e.Peer, " ", e.SOPClassUID, " ", e.Reason, " ", e.Count)
				}
			}
			want := ""
			if c.reason != "" {
				want = fmt.Sprint("SCANNER ", c.class, " ", c.reason, " 1")
			}
			lines := strings.Count(a.log.String(), "presentation contexts not accepted")
			if told != want || lines != min(len(want), 1) {
				t.Errorf("told %q in %d lines, want %q\n%s", told, lines, want, a.log)
			}
		})
	}
}

// TestUnsupportedInOneLine: many contexts of one association make one line of bounded length.
func TestUnsupportedInOneLine(t *testing.T) {
	t.Parallel()
	a := serve(t, Options{}, spool.Options{})
	o := options(a)
	for i := range 40 {
		o.Contexts = append(o.Contexts, ul.ProposedContext{AbstractSyntax: fmt.Sprint("1.3.12.", i), TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian}})
	}
	s := connect(t, o)
	if err := s.Release(t.Context()); err != nil {
		t.Error(err)
	}
	a.stop()
	log := a.log.String()
	if strings.Count(log, "not accepted") != 1 || !strings.Contains(log, "peer=SCANNER") || !strings.Contains(log, "and 33 more") || a.kinds()[Unsupported] != 41 {
		t.Errorf("%d events, log %s", a.kinds()[Unsupported], log)
	}
}

// oddStudy writes a study of four CT objects behind two of classes that are no images, the first a private one.
func oddStudy(t *testing.T) (paths []string) {
	t.Helper()
	dir, cts := files(t, 4, 2000)
	for i, class := range []string{siemensNonImage, performedProtocol} {
		uid := fmt.Sprint("1.2.826.0.8.", i)
		d := &dcm.DataSet{}
		for tag, v := range map[dcm.Tag]string{dcm.SOPClassUID: class, dcm.SOPInstanceUID: uid, dcm.StudyInstanceUID: "1.2.826.0.99.1", dcm.SeriesInstanceUID: "1.2.826.0.99.3"} {
			d.SetStrings(tag, "UI", v)
		}
		d.SetStrings(dcm.Modality, "CS", "OT")
		d.SetStrings(dcm.PatientID, "LO", "7")
		var b bytes.Buffer
		if err := dcm.WriteFile(&b, dcm.FileMeta{SOPClassUID: class, SOPInstanceUID: uid, TransferSyntaxUID: dcm.ExplicitVRLittleEndian}, d); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, fmt.Sprintf("000-%d.dcm", i)) // the first of the study
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return append(paths, cts...)
}

// TestSendersOfOddStudies: senders that propose all classes of a study in one association, and give up where one of them is
// rejected, send the whole study.
func TestSendersOfOddStudies(t *testing.T) {
	paths := oddStudy(t)
	for name, c := range map[string]struct {
		paths []string
		args  func(t *testing.T, host, port string) []string
	}{
		"storescu": {paths[1:], func(t *testing.T, host, port string) []string { // it sends no private class that it does not know
			return []string{tool(t, "storescu"), "-R", host, port}
		}},
		"dcmsend": {paths, func(t *testing.T, host, port string) []string { return []string{tool(t, "dcmsend"), host, port} }},
		"pynetdicom": {paths, func(t *testing.T, host, port string) []string {
			return []string{python(t), "testdata/send.py", host, port, "0"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t, Options{AnyPeer: true, PrivateClasses: true, DrainTimeout: 5 * time.Second}, spool.Options{})
			host, port, _ := net.SplitHostPort(a.address)
			args := append(c.args(t, host, port), c.paths...)
			out, err := command(t, args[0], args[1:]...)
			a.stop()
			if n := len(a.spool.Study("1.2.826.0.99.1")); err != nil || n != len(c.paths) {
				t.Errorf("%d of %d objects, %v\n%s\n%s", n, len(c.paths), err, out, a.log)
			}
		})
	}
}

// TestOrthancForwardsOddStudy: an Orthanc that is told to forward such a study, all classes in one association, forwards all.
func TestOrthancForwardsOddStudy(t *testing.T) {
	paths := oddStudy(t)
	a := serve(t, Options{AnyPeer: true, PrivateClasses: true, DrainTimeout: 5 * time.Second}, spool.Options{})
	host, port, _ := net.SplitHostPort(a.address)
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	archive := scptest.StartOrthanc(t, map[string]any{"DicomModalities": map[string]any{"node": []any{"ICHOR", host, number}}})
	var stored struct{ ID string }
	var resources []string
	for _, path := range paths {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.Post("http://"+archive.HTTP+"/instances", "application/dicom", bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(answer.Body).Decode(&stored)
		if err := errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %v", path, answer.Status, err)
		}
		resources = append(resources, stored.ID)
	}
	var done struct{ FailedInstancesCount, InstancesCount int }
	archive.JSON("/modalities/node/store", map[string]any{"Resources": resources, "Synchronous": true}, &done)
	a.stop()
	if n := len(a.spool.Study("1.2.826.0.99.1")); n != len(paths) || done.FailedInstancesCount != 0 {
		t.Errorf("%d of %d objects, %+v\n%s", n, len(paths), done, a.log)
	}
}
