package deliver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/receiver"
)

// result writes an object as reporting does, and returns its delivery and pixels.
func result(t *testing.T, dir, destination string, n int) (state.Delivery, []byte) {
	t.Helper()
	uid := dcm.DeriveUID("deliver test", strconv.Itoa(n))
	sopClass := []string{dcm.SecondaryCaptureImageStorage, dcm.SegmentationStorage}[n%2]
	pixels := bytes.Repeat([]byte{byte(n), 1, 2, 3}, 64*64/4)
	ds := &dcm.DataSet{}
	ds.SetStrings(dcm.SOPClassUID, "UI", sopClass)
	ds.SetStrings(dcm.SOPInstanceUID, "UI", uid)
	ds.SetStrings(dcm.StudyInstanceUID, "UI", "1.2.3")
	ds.SetStrings(dcm.SeriesInstanceUID, "UI", "1.2.3.4")
	ds.SetStrings(dcm.PatientName, "PN", "Prüf^Änne")
	ds.SetStrings(dcm.Modality, "CS", "OT")
	ds.SetInts(dcm.Rows, "US", 64)
	ds.SetInts(dcm.Columns, "US", 64)
	ds.SetInts(dcm.BitsAllocated, "US", 8)
	ds.SetInts(dcm.SamplesPerPixel, "US", 1)
	ds.SetBytes(dcm.PixelData, "OB", pixels)
	var buf bytes.Buffer
	if err := dcm.WriteFile(&buf, dcm.FileMeta{}, ds); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fmt.Sprint(n, ".dcm"))
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return state.Delivery{DeliveryKey: state.DeliveryKey{SOPInstanceUID: uid, Destination: destination}, Kind: "SC", SOPClassUID: sopClass,
		TransferSyntaxUID: dcm.ExplicitVRLittleEndian, Path: path, Size: int64(buf.Len())}, pixels
}

// deliverAll sends n results to a real peer and waits until state says that they are stored.
func deliverAll(t *testing.T, address, calledAE string, n int) (deliveries []state.Delivery, pixels [][]byte) {
	t.Helper()
	dir := t.TempDir()
	store, err := state.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for i := range n {
		d, p := result(t, dir, "PACS", i)
		deliveries, pixels = append(deliveries, d), append(pixels, p)
	}
	c, err := store.Queue("1.2.3", 1, "quiet 5s", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Finish(c.ID, 1, state.Conclusion{Finding: finding.Finding{Status: finding.Analyzed}, Deliveries: deliveries}, time.Now()); err != nil {
		t.Fatal(err)
	}
	d := New(Options{
		Destinations: []Destination{{Name: "PACS", Address: address, CalledAE: calledAE, CallingAE: "ICHOR", ResponseTimeout: 10 * time.Second}},
		State:        store,
		FirstRetry:   50 * time.Millisecond,
		MaxRetry:     200 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { d.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		counts, err := store.Counts()
		if err != nil {
			t.Fatal(err)
		}
		if counts.Deliveries["PACS"][state.Stored] == n {
			return deliveries, pixels
		}
		if time.Now().After(deadline) {
			all, _ := store.Deliveries(c.ID)
			t.Fatalf("not delivered: %+v\n%+v", all, d.Status())
		}
	}
}

// arrived checks that a file at the destination is what was sent.
func arrived(t *testing.T, path, transferSyntax string, pixels []byte) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := dcm.Read(bytes.NewReader(raw), int64(len(raw)), dcm.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.PixelData()
	if err != nil || sha256.Sum256(got) != sha256.Sum256(pixels) {
		t.Errorf("pixels differ, error %v", err)
	}
	if f.Meta.TransferSyntaxUID != transferSyntax || f.Data.String(dcm.PatientName) != "Prüf^Änne" {
		t.Errorf("%s, name %q", dcm.UIDName(f.Meta.TransferSyntaxUID), f.Data.String(dcm.PatientName))
	}
}

func TestReceiver(t *testing.T) {
	for name, tell := range map[string]func(*receiver.Receiver){
		"well":             func(*receiver.Receiver) {},
		"aborts":           func(r *receiver.Receiver) { r.Abort(2) },
		"rejects":          func(r *receiver.Receiver) { r.Reject(3, true) },
		"rejects for good": func(r *receiver.Receiver) { r.Reject(3, false) },
		"is full":          func(r *receiver.Receiver) { r.Fail(dimse.OutOfResources, 3) },
		"misunderstands":   func(r *receiver.Receiver) { r.Fail(dimse.CannotUnderstand, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			r, err := receiver.Start(receiver.Options{AETitle: "PACS", Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			tell(r)
			sent, pixels := deliverAll(t, r.Address(), "PACS", 9)
			if len(r.Objects()) != len(sent) {
				t.Errorf("%d objects there, want %d", len(r.Objects()), len(sent))
			}
			for i, d := range sent {
				if n := r.Count(d.SOPInstanceUID); n != 1 {
					t.Errorf("object %d stored %d times", i, n)
				}
				syntax := dcm.ExplicitVRLittleEndian
				if name == "misunderstands" && i < 3 { // it was refused once, and then sent in the next best
					syntax = dcm.ImplicitVRLittleEndian
				}
				arrived(t, filepath.Join(filepath.Dir(r.Objects()[0].Path), d.SOPInstanceUID+".dcm"), syntax, pixels[i])
			}
		})
	}
}

// TestStorescp sends to dcmtk, which takes Explicit VR, or Implicit VR only.
func TestStorescp(t *testing.T) {
	bin, err := exec.LookPath("storescp")
	if err != nil {
		t.Skip("storescp not found: install the Debian package dcmtk")
	}
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"explicit": {nil, dcm.ExplicitVRLittleEndian},
		"implicit": {[]string{"+xi"}, dcm.ImplicitVRLittleEndian},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			address := ln.Addr().String()
			_, port, _ := net.SplitHostPort(address)
			ln.Close()
			dir := t.TempDir()
			cmd := exec.Command(bin, append(tt.args, "-aet", "STORESCP", "-od", dir, port)...)
			cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
			if err := cmd.Start(); err != nil { // it may come up after our first attempts: that is what they are for
				t.Fatal(err)
			}
			defer func() { cmd.Process.Kill(); cmd.Wait() }()
			sent, pixels := deliverAll(t, address, "STORESCP", 4)
			files, _ := os.ReadDir(dir)
			if len(files) != len(sent) {
				t.Errorf("%d files, want %d", len(files), len(sent))
			}
			for i, d := range sent {
				found, _ := filepath.Glob(filepath.Join(dir, "*"+d.SOPInstanceUID+"*"))
				if len(found) != 1 {
					t.Errorf("object %d: %v", i, found)
					continue
				}
				arrived(t, found[0], tt.want, pixels[i])
			}
		})
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	d, _ := result(t, dir, "PACS", 1)
	short, junk, gone := d, d, d
	short.Size++
	junk.Path, junk.Size = filepath.Join(dir, "2.25.1.dcm"), 0
	gone.Path = filepath.Join(dir, "2.25.2.dcm")
	if err := os.WriteFile(junk.Path, bytes.Repeat([]byte("junk"), 100), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]state.Delivery{"short": short, "junk": junk, "gone": gone} {
		for _, ts := range []string{dcm.ExplicitVRLittleEndian, dcm.ImplicitVRLittleEndian} {
			if r, err := openObject(bad, ts); err == nil {
				t.Errorf("%s opened as %s", name, dcm.UIDName(ts))
				r.Close()
			} else if strings.Contains(err.Error(), filepath.Base(bad.Path)) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: %v: the error is logged, it names a folder and no object", name, err)
			}
		}
	}
	r, err := openObject(d, "1.2.840.10008.1.2.4.50")
	if err == nil {
		r.Close()
		t.Error("opened as JPEG")
	}
}
