package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"ichor/scp/dcm"
)

// object makes the data set of one SOP instance, Explicit VR Little Endian, with n bytes of pixel data.
func object(t testing.TB, study, instance string, n int) []byte {
	t.Helper()
	d := &dcm.DataSet{}
	d.SetStrings(dcm.SOPClassUID, "UI", dcm.CTImageStorage)
	d.SetStrings(dcm.SOPInstanceUID, "UI", instance)
	d.SetStrings(dcm.Modality, "CS", "CT")
	d.SetStrings(dcm.StudyInstanceUID, "UI", study)
	d.SetStrings(dcm.SeriesInstanceUID, "UI", study+".1")
	d.SetBytes(dcm.PixelData, "OW", bytes.Repeat([]byte{1, 2}, n/2))
	var b bytes.Buffer
	if err := dcm.WriteDataSet(&b, d, dcm.ExplicitVRLittleEndian); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(t testing.TB, dir string) *Spool {
	t.Helper()
	s, err := Open(context.Background(), Options{Dir: dir, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func begin(t testing.TB, sess *Intake, instance string, data []byte) *Writer {
	t.Helper()
	w, err := sess.Create(dcm.CTImageStorage, instance, dcm.ExplicitVRLittleEndian, "CT1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	return w
}

func put(t testing.TB, sess *Intake, instance string, data []byte) (Object, bool) {
	t.Helper()
	o, fresh, err := begin(t, sess, instance, data).Commit()
	if err != nil {
		t.Fatal(err)
	}
	return o, fresh
}

// check reads o back and compares it with the data set it was made of.
func check(t testing.TB, s *Spool, o Object, data []byte) {
	t.Helper()
	r, err := s.Read(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(b, data) || int64(len(b)) != o.Size {
		t.Fatalf("read %d bytes, not the %d that were stored", len(b), len(data))
	}
	f, err := dcm.Read(r, r.Size(), dcm.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if f.Meta.SOPInstanceUID != o.SOPInstanceUID || f.Data.String(dcm.StudyInstanceUID) != o.StudyInstanceUID ||
		f.Meta.TransferSyntaxUID != o.TransferSyntaxUID || f.Meta.SourceAETitle != o.CallingAE {
		t.Fatalf("file says %+v", f.Meta)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != o.SHA256 {
		t.Fatal("SHA-256 is not that of the data set")
	}
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	m, err := filepath.Glob(filepath.Join(dir, "segments", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestStoreAndReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	sess := s.Intake()
	data := map[string][]byte{}
	for i, n := range []int{0, 100, 70_000, 300_000, 2_000_000} {
		id := "1.2.3." + string(rune('1'+i))
		data[id] = object(t, "1.9", id, n)
		o, fresh := put(t, sess, id, data[id])
		if !fresh || o.Modality != "CT" || o.StudyInstanceUID != "1.9" || o.Conflict {
			t.Fatalf("%+v fresh %v", o, fresh)
		}
		check(t, s, o, data[id])
	}
	w, _ := sess.Create(dcm.CTImageStorage, "1.2.3.9", dcm.ExplicitVRLittleEndian, "CT1")
	big := object(t, "1.9", "1.2.3.9", 900_000)
	for i := range big { // a byte at a time, as a peer may send it
		if _, err := w.Write(big[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	data["1.2.3.9"] = big
	begin(t, sess, "1.2.3.8", big) // never committed
	if err := errors.Join(sess.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir)
	got := s.Study("1.9")
	if len(got) != len(data) || len(s.Damaged()) != 0 || len(s.Studies()) != 1 {
		t.Fatalf("%d objects, damaged %v, studies %v", len(got), s.Damaged(), s.Studies())
	}
	for _, o := range got {
		check(t, s, o, data[o.SOPInstanceUID])
	}
	if n := len(files(t, dir)); n != 1 {
		t.Fatalf("%d segments of one association", n)
	}
}

func TestSameObjectTwice(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	a, b := object(t, "1.9", "1.2.3", 1000), object(t, "1.9", "1.2.3", 2000)
	one, two := s.Intake(), s.Intake()
	first, _ := put(t, one, "1.2.3", a)
	if again, fresh := put(t, two, "1.2.3", a); fresh || again.at != first.at {
		t.Fatalf("kept twice: %+v", again)
	}
	other, fresh := put(t, two, "1.2.3", b)
	if !fresh || !other.Conflict || len(s.Study("1.9")) != 2 {
		t.Fatalf("other content: %+v fresh %v", other, fresh)
	}
	one.Close()
	two.Close()
	s.Close()
	s = open(t, dir)
	if again, fresh := put(t, s.Intake(), "1.2.3", b); fresh || !again.Conflict || len(s.Study("1.9")) != 2 {
		t.Fatalf("after restart: %+v fresh %v", again, fresh)
	}
}

func TestManySessionsSameObject(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var mu sync.Mutex
	var wg sync.WaitGroup
	freshOnes := 0
	for range 16 {
		wg.Go(func() {
			sess := s.Intake()
			defer sess.Close()
			for _, id := range []string{"1.1", "1.2", "1.3"} {
				_, fresh := put(t, sess, id, object(t, "1.9", id, 5000))
				mu.Lock()
				if fresh {
					freshOnes++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if freshOnes != 3 || len(s.Study("1.9")) != 3 {
		t.Fatalf("%d fresh, %d kept", freshOnes, len(s.Study("1.9")))
	}
	for _, o := range s.Study("1.9") {
		check(t, s, o, object(t, "1.9", o.SOPInstanceUID, 5000))
	}
}

func TestRefusals(t *testing.T) {
	good := object(t, "1.9", "1.2.3", 1000)
	noStudy := &dcm.DataSet{}
	noStudy.SetStrings(dcm.SOPClassUID, "UI", dcm.CTImageStorage)
	noStudy.SetStrings(dcm.SOPInstanceUID, "UI", "1.2.3")
	var bare bytes.Buffer
	if err := dcm.WriteDataSet(&bare, noStudy, dcm.ExplicitVRLittleEndian); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, class, instance, syntax string
		data                          []byte
		want                          error
	}{
		{"other instance", dcm.CTImageStorage, "1.2.4", dcm.ExplicitVRLittleEndian, good, ErrIdentity},
		{"other class", dcm.MRImageStorage, "1.2.3", dcm.ExplicitVRLittleEndian, good, ErrIdentity},
		{"path as UID", dcm.CTImageStorage, "../../etc/passwd", dcm.ExplicitVRLittleEndian, nil, ErrIdentity},
		{"path as study", dcm.CTImageStorage, "1.2.3", dcm.ExplicitVRLittleEndian, object(t, "../1", "1.2.3", 0), ErrIdentity},
		{"no study", dcm.CTImageStorage, "1.2.3", dcm.ExplicitVRLittleEndian, bare.Bytes(), ErrIdentity},
		{"long UID", dcm.CTImageStorage, strings.Repeat("1", 65), dcm.ExplicitVRLittleEndian, nil, ErrIdentity},
		{"not DICOM", dcm.CTImageStorage, "1.2.3", dcm.ExplicitVRLittleEndian, bytes.Repeat([]byte("junk"), 1e5), dcm.ErrTruncated},
		{"cut in the header", dcm.CTImageStorage, "1.2.3", dcm.ExplicitVRLittleEndian, good[:70], dcm.ErrTruncated},
		{"empty", dcm.CTImageStorage, "1.2.3", dcm.ExplicitVRLittleEndian, nil, ErrIdentity},
		{"unknown syntax", dcm.CTImageStorage, "1.2.3", "1.2.3.4.5", good, dcm.ErrTransferSyntax},
		{"too large", dcm.CTImageStorage, "1.2.3", dcm.ExplicitVRLittleEndian, object(t, "1.9", "1.2.3", 2_000_000), ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(context.Background(), Options{Dir: dir, MaxObjectBytes: 1 << 20, ReserveBytes: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			sess := s.Intake()
			err = func() error {
				w, err := sess.Create(c.class, c.instance, c.syntax, "CT1")
				if err != nil {
					return err
				}
				if _, err := w.Write(c.data); err != nil {
					w.Abort()
					return err
				}
				_, _, err = w.Commit()
				return err
			}()
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if o, fresh := put(t, sess, "1.2.3", good); !fresh { // the intake goes on
				t.Fatalf("%+v", o)
			} else {
				check(t, s, o, good)
			}
		})
	}
}

func TestNoSpace(t *testing.T) {
	dir := t.TempDir()
	full := errors.New("not yet")
	d := realDisk()
	free := uint64(5000)
	d.free = func(string) (uint64, error) { return free, nil }
	write, syncFile := d.write, d.sync
	d.write = func(f *os.File, p []byte, off int64) error {
		if full == syscall.ENOSPC {
			write(f, p[:len(p)/2], off)
			return &os.PathError{Op: "write", Path: f.Name(), Err: full}
		}
		return write(f, p, off)
	}
	var syncErr error
	d.sync = func(f *os.File) error { return errors.Join(syncErr, syncFile(f)) }
	s, err := openOn(context.Background(), Options{Dir: dir, ReserveBytes: 10_000}, d)
	if err != nil {
		t.Fatal(err)
	}
	sess := s.Intake()
	if _, err := sess.Create(dcm.CTImageStorage, "1.2.3", dcm.ExplicitVRLittleEndian, "CT1"); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("below the reserve: %v", err)
	}
	free = 1 << 30
	a, b := object(t, "1.9", "1.2.3", 1000), object(t, "1.9", "1.2.4", 1_000_000)
	put(t, sess, "1.2.3", a)
	full = syscall.ENOSPC
	w, err := sess.Create(dcm.CTImageStorage, "1.2.4", dcm.ExplicitVRLittleEndian, "CT1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("full disk while writing: %v", err)
	}
	if _, _, err := w.Commit(); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("commit after a failed write: %v", err)
	}
	full = nil
	w = begin(t, sess, "1.2.4", b)
	syncErr = syscall.EDQUOT
	if _, _, err := w.Commit(); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("full disk while syncing: %v", err)
	}
	syncErr = nil
	if _, fresh := put(t, sess, "1.2.4", b); !fresh {
		t.Fatal("an object whose sync failed was taken for stored")
	}
	sess.Close()
	s.Close()
	s = open(t, dir)
	if n := len(s.Study("1.9")); n != 2 || len(s.Damaged()) != 0 {
		t.Fatalf("%d objects, damaged %v", n, s.Damaged())
	}
}

func TestFolderErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	if _, err := Open(context.Background(), Options{Dir: file}); err == nil || !strings.Contains(err.Error(), "choose another folder") {
		t.Fatalf("%v", err)
	}
	dir := t.TempDir()
	open(t, dir)
	if _, err := Open(context.Background(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Fatalf("%v", err)
	}
	dir = t.TempDir()
	os.Chmod(dir, 0o500)
	if os.Getuid() == 0 {
		dir = "/sys" // where even root makes no folder
	}
	if _, err := Open(context.Background(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "make it writable") {
		t.Fatalf("%v", err)
	}
}

// TestNewestCopy: of an instance that came with other content, the copies stay in the order of arrival over a restart, and
// one that is sent again after another is the newest once more.
func TestNewestCopy(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	a, b := object(t, "1.9", "1.2.3", 1000), object(t, "1.9", "1.2.3", 2000)
	resting, other := s.Intake(), s.Intake()
	put(t, resting, "1.2.2", object(t, "1.9", "1.2.2", 10)) // takes the first segment
	put(t, other, "1.2.3", a)
	put(t, resting, "1.2.3", b)
	newest := func(when string, want []byte, copies int) {
		t.Helper()
		list := s.Find("1.2.3")
		if len(list) != copies {
			t.Fatalf("%s: %d copies, want %d", when, len(list), copies)
		}
		check(t, s, list[copies-1], want)
	}
	newest("other content", b, 2)
	resting.Close()
	other.Close()
	s.Close()
	s = open(t, dir)
	newest("after a restart", b, 2)
	session := s.Intake()
	if o, fresh := put(t, session, "1.2.3", a); !fresh || !o.Conflict {
		t.Fatalf("a former copy: %+v fresh %v", o, fresh)
	}
	newest("a former copy", a, 2)
	if _, fresh := put(t, session, "1.2.3", a); fresh {
		t.Fatal("the newest copy was stored twice")
	}
	session.Close()
	s.Close()
	s = open(t, dir)
	newest("a former copy after a restart", a, 2)
}
