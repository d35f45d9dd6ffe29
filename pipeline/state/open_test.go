package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"ichor/scp/dcm"
)

// TestOnlyDamageIsCalledDamage: an error of opening an intact file names its cause, and never says to move the file away, because
// that would lose the deliveries and cases in it.
func TestOnlyDamageIsCalledDamage(t *testing.T) {
	t.Parallel()
	for cause, want := range map[error]string{
		syscall.EMFILE: "LimitNOFILE", syscall.ENFILE: "LimitNOFILE", syscall.ENOMEM: "memory", syscall.ENOSPC: "free disk space",
		syscall.EDQUOT: "free disk space", syscall.EROFS: "read-only", syscall.EIO: "check the disk", syscall.EACCES: "writable for this user",
		syscall.EPERM: "writable for this user", syscall.ENOENT: "create its folder", ErrUnreadable: "check the disk", syscall.EINVAL: "keep the file",
	} {
		err := cannotOpen("state.db", fmt.Errorf("page 7: %w", &os.PathError{Op: "open", Path: "state.db", Err: cause}))
		if errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), "move it away") || !strings.Contains(err.Error(), want) || !errors.Is(err, cause) {
			t.Errorf("%v: %v", cause, err)
		}
	}
	if err := cannotOpen("state.db", errStructure); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "move it away") {
		t.Error(err)
	}
}

// TestTooManyFiles opens a good file while no descriptor is left.
func TestTooManyFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	open(t, path).Close()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: old.Max}); err != nil {
		t.Skip(err)
	}
	_, err := Open(path)
	if e := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); e != nil {
		t.Fatal(e)
	}
	if !errors.Is(err, syscall.EMFILE) || errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	open(t, path)
}

// TestDiskThatFails reads a good file from a disk that does not: that is no damage.
func TestDiskThatFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	open(t, path).Close()
	good := must(os.ReadFile(path))(t)
	for n := range len(good)/4096 + 1 {
		err := verify(failing{bytes.NewReader(good), int64(n) * 4096}, int64(len(good)))
		if n < 3 && !errors.Is(err, syscall.EIO) || err != nil && (errors.Is(err, errStructure) || !errors.Is(err, syscall.EIO)) {
			t.Errorf("page %d: %v", n, err)
		}
	}
}

// failing is a disk of which one page cannot be read.
type failing struct {
	io.ReaderAt
	bad int64
}

func (f failing) ReadAt(p []byte, at int64) (int, error) {
	if at < f.bad+4096 && at+int64(len(p)) > f.bad {
		return 0, syscall.EIO
	}
	return f.ReaderAt.ReadAt(p, at)
}

// TestVerifyKnowsWhatBoltWrites compares the two readers of the layout.
func TestVerifyKnowsWhatBoltWrites(t *testing.T) {
	t.Parallel()
	s := open(t, "")
	for n := range 30 {
		finished(t, s, fmt.Sprint("1.2.", n), t0, "A")
	}
	err := s.db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		file := must(os.Open(s.db.Path()))(t)
		defer file.Close()
		return verify(file, must(file.Stat())(t).Size())
	})
	if err != nil {
		t.Error(err)
	}
	raw := must(os.ReadFile(s.db.Path()))(t)
	for _, at := range []int{0, 4096} {
		raw[at+pageHeader+4] = 3 // a later file format, with its checksum
		copy(raw[at+pageHeader+metaSum:], sum64(raw[at+pageHeader:at+pageHeader+metaSum]))
	}
	if err := verify(bytes.NewReader(raw), int64(len(raw))); err == nil || errors.Is(err, errStructure) {
		t.Errorf("a later format is misread: %v", err)
	}
}

// TestOurDefectsAreOurs: a panic of our own code ends the process with its stack; one of bbolt is damage.
func TestOurDefectsAreOurs(t *testing.T) {
	t.Parallel()
	s := open(t, "")
	caught := func(fn func(*bolt.Tx) error) (r any, err error) {
		defer func() { r = recover() }()
		return nil, s.update(fn)
	}
	r, err := caught(func(*bolt.Tx) error { var none []int; return fmt.Errorf("%d", none[3]) })
	if _, ok := r.(runtime.Error); !ok || err != nil {
		t.Errorf("a slice out of range: panic %v, error %v", r, err)
	}
	r, _ = caught(func(*bolt.Tx) error { var c *Case; c.Tries++; return nil })
	if _, ok := r.(runtime.Error); !ok {
		t.Errorf("a nil pointer: panic %v", r)
	}
	if _, err = caught(func(tx *bolt.Tx) error { return tx.Commit() }); !errors.Is(err, ErrDamaged) { // panics inside bbolt
		t.Errorf("a panic of bbolt: %v", err)
	}
	if _, err := s.Receive("1.2.3", t0); err != nil {
		t.Errorf("unusable afterwards: %v", err)
	}
}

// TestNewerFileIsLeftAlone: not one byte of a file of a later version changes.
func TestNewerFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	s := must(Open(path))(t)
	err := s.db.Update(func(tx *bolt.Tx) error {
		return errors.Join(tx.DeleteBucket(bucketForgotten), putJSON(tx.Bucket(bucketMeta), keyVersion, formatVersion+1))
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	before := must(os.ReadFile(path))(t)
	if _, err := Open(path); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
	if !bytes.Equal(before, must(os.ReadFile(path))(t)) {
		t.Error("the file was written to")
	}
}

// TestOpenDoesNotWrite: a full disk is no obstacle to opening a file of this version.
func TestOpenDoesNotWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	s := must(Open(path))(t)
	node := s.Node()
	s.Close()
	before := must(os.ReadFile(path))(t)
	s = must(Open(path))(t)
	defer s.Close()
	if !bytes.Equal(before, must(os.ReadFile(path))(t)) {
		t.Error("the file was written to")
	}
	if s.Node() != node || len(node) != 16 {
		t.Errorf("node %q, was %q", s.Node(), node)
	}
}

// TestRunningTime goes on where it was when the file is opened again, whatever the clock says.
func TestRunningTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	s := must(Open(path))(t)
	s.elapsed = func() time.Duration { return 5 * time.Hour }
	must(s.Receive(study, t0))(t)
	s.Close()
	s = must(Open(path))(t)
	defer s.Close()
	if got := s.running(); got < 5*time.Hour || got > 5*time.Hour+time.Minute {
		t.Errorf("running for %v", got)
	}
}

// TestFormat2 opens a file whose deliveries waited by the wall clock.
func TestFormat2(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	finished(t, s, "1.2.1", t0, "A")
	if err := s.MarkStored(DeliveryKey{"1.2.1.SC", "A"}, "", t0); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	err := s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketDeliveries)
		var keys [][]byte
		b.ForEach(func(k, _ []byte) error { keys = append(keys, bytes.Clone(k)); return nil })
		for _, k := range keys {
			var d map[string]any
			if err := json.Unmarshal(b.Get(k), &d); err != nil {
				return err
			}
			delete(d, "due")
			delete(d, "from")
			d["version"], d["since"], d["next"] = 2, now.Add(-24*time.Hour), now.Add(-24*time.Hour)
			if strings.HasPrefix(string(k), "1.2.1.SR") { // tried when the clock was ten years ahead
				d["next"] = now.AddDate(10, 0, 0)
			}
			if err := putJSON(b, k, d); err != nil {
				return err
			}
		}
		err := errors.Join(tx.Bucket(bucketMeta).Delete(keyRunning), tx.Bucket(bucketMeta).Delete(keyNode), putJSON(tx.Bucket(bucketMeta), keyVersion, 2))
		err = errors.Join(err, putJSON(tx.Bucket(bucketPromises), promiseKey("CT", "1.2"), map[string]any{"version": 2, "peer": "CT",
			"transaction_uid": "1.2", "objects": [][2]string{{dcm.CTImageStorage, "1.2.3"}}, "at": now}))
		for _, name := range [][]byte{bucketAwaited, bucketRemoved, bucketForgotten} {
			err = errors.Join(err, tx.DeleteBucket(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.db.Close()
	s = must(Open(path))(t)
	defer s.Close()
	check(t, s)
	former := must(bolt.Open(path+".format2", 0o600, &bolt.Options{ReadOnly: true}))(t) // the way back to that version
	defer former.Close()
	if err := former.View(func(tx *bolt.Tx) error {
		if v, err := versionOf(tx.Bucket(bucketMeta)); v != 2 || tx.Bucket(bucketDeliveries).Stats().KeyN != 3 {
			t.Errorf("the file before the conversion is not kept: version %d, %v", v, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	var got []string
	asked := 0
	for _, d := range must(s.Due("A", 9))(t) {
		got = append(got, d.SOPInstanceUID)
		if age := s.running() - d.From; age < 23*time.Hour || age > 25*time.Hour {
			t.Errorf("%s is %v old", d.SOPInstanceUID, age)
		}
	}
	if want := []string{"1.2.1.SEG", "1.2.1.SR"}; !slices.Equal(got, want) {
		t.Errorf("due %v, want %v", got, want)
	}
	if s.Node() == "" {
		t.Error("no name")
	}
	if err := s.Promises(func(peer, uid string, request []byte, age time.Duration) {
		d, err := dcm.ReadDataSet(bytes.NewReader(request), dcm.ExplicitVRLittleEndian, dcm.Limits{})
		if err != nil || d.String(dcm.TransactionUID) != "1.2" || d.Sequence(dcm.ReferencedSOPSequence)[0].String(dcm.ReferencedSOPInstanceUID) != "1.2.3" ||
			peer != "CT" || uid != "1.2" || age > time.Hour {
			t.Errorf("request of a peer: %s %s %q %v, error %v", peer, uid, request, age, err)
		}
		asked++
	}); err != nil || asked != 1 {
		t.Errorf("%d requests of peers, error %v", asked, err)
	}
}

// TestCompact shrinks a file of which little is used, and keeps all that is in it.
func TestCompact(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	s := must(Open(path))(t)
	run(s, t0)
	finished(t, s, study, t0, "A")
	fill := func(do func(b *bolt.Bucket, key []byte) error) {
		err := s.db.Update(func(tx *bolt.Tx) (err error) {
			for n := range 40 {
				err = errors.Join(err, do(tx.Bucket(bucketHistory), fmt.Appendf(nil, "z%d", n)))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	fill(func(b *bolt.Bucket, key []byte) error { return b.Put(key, make([]byte, 1<<20)) })
	fill(func(b *bolt.Bucket, key []byte) error { return b.Delete(key) })
	s.Close()
	before := must(os.Stat(path))(t).Size()
	if before < wastefulBytes {
		t.Fatalf("%d bytes prove nothing", before)
	}
	s = must(Open(path))(t)
	defer s.Close()
	check(t, s)
	if after := must(os.Stat(path))(t).Size(); after > 1<<20 {
		t.Errorf("%d bytes, were %d", after, before)
	}
	if n := len(must(s.Deliveries(IDOf(study)))(t)); n != 3 {
		t.Errorf("%d deliveries", n)
	}
	finished(t, s, "1.2.9", t0.Add(time.Hour), "A") // sequences go on
	check(t, s)
	if left := must(filepath.Glob(path + ".*"))(t); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	if _, err := Open(path); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
}

// TestReplacedWhileWaiting: who waits for the lock of a file that is compacted meanwhile gets the new one, not the one that
// is no longer there.
func TestReplacedWhileWaiting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, other := filepath.Join(dir, "state.db"), filepath.Join(dir, "other.db")
	old := must(Open(path))(t)
	next := must(Open(other))(t)
	must(next.Receive(study, t0))(t)
	next.Close()
	opened := make(chan *Store)
	go func() {
		s, err := Open(path)
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	time.Sleep(3 * lockPoll) // it has the old file open
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	old.Close()
	s := <-opened
	defer s.Close()
	if _, err := s.Case(IDOf(study)); err != nil {
		t.Errorf("the old file was opened: %v", err)
	}
}
