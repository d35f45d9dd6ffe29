// Package state keeps what ichor knows about cases and their deliveries, in one bbolt file.
//
//	meta        format version of the file
//	cases       case -> Case
//	newest      created time, case -> nothing (an index: cases by age)
//	history     case, number -> Event
//	deliveries  SOP Instance UID, destination -> Delivery
//	results     case, number -> key of a delivery (an index: deliveries of a case in order of sending)
//	due         destination, class, time, number -> key of a delivery (an index: pending deliveries in sending order)
//	uncommitted destination, time, number -> key of a delivery (an index: stored ones that need commitment)
//	transactions  Transaction UID -> Transaction (Storage Commitment requests from us to destinations)
//	promises    AE title, Transaction UID -> Promise (Storage Commitment requests from peers to us)
//	outcomes    case, revision -> Outcome
//	late        number -> key of a delivery (an index: stored although superseded, rejection note not made yet)
//	patients    keyed digest of the patient, case -> when scanned (an index: findings of one patient; identifies nobody)
//	exams       case -> its key in patients
//	awaited     running time, key -> bucket of the key (an index: transactions and promises, the oldest first)
//	removed     running time, case -> nothing (an index: cases whose images and results were removed, the oldest first)
//	forgotten   case -> digests of what its destinations have (see Forget)
//	dead        number -> key of a delivery (an index: dead letters in order)
//	senders     AE title -> assembly.Sender (the pauses of a sender)
//	counts      phase, or destination and delivery state -> number; refusal code, destination -> what Counts says of them
//
// Values are JSON with a version, times are UTC. Waits and ages use running time, the total time for which this file was open,
// never the wall clock, which may jump by years. Every transition is one transaction that also writes its history and its
// indexes, so after a crash a transition is either complete or did not happen. The spool is the truth for objects, this package
// for decisions, the queue for running work. Store.Resume says what to do with a study after a restart, and everything it asks
// for can be repeated without harm.
package state

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Errors that callers distinguish.
var (
	ErrNotFound   = errors.New("not found")
	ErrTransition = errors.New("transition not allowed")
	ErrStale      = errors.New("superseded by a newer revision") // the work was for a revision that is not the current one
	ErrLocked     = errors.New("state file is in use")
	ErrDamaged    = errors.New("state file is damaged")         // its structure is wrong; a failing disk is not damage
	ErrUnreadable = errors.New("state file cannot be read now") // a page could not be read: the disk failed, or the file was truncated
	ErrVersion    = errors.New("written by a newer ichor")
)

// formatVersion is the version of the file and of every value in it. Since 2 pending deliveries are sorted by class; since 3
// their waits and ages are in running time, and there are digests of their files.
const formatVersion = 3

// lockTimeout is how long Open waits for another process to release the file: during a restart two processes may overlap
// briefly.
const lockTimeout = 2 * time.Second

var (
	bucketMeta       = []byte("meta")
	bucketCases      = []byte("cases")
	bucketNewest     = []byte("newest")
	bucketHistory    = []byte("history")
	bucketDeliveries = []byte("deliveries")
	bucketResults    = []byte("results")
	bucketDue        = []byte("due")
	bucketDead       = []byte("dead")
	bucketCounts     = []byte("counts")
	bucketOutcomes   = []byte("outcomes")
	bucketLate       = []byte("late")
	bucketPatients   = []byte("patients")
	bucketExams      = []byte("exams")

	bucketUncommitted  = []byte("uncommitted")
	bucketTransactions = []byte("transactions")
	bucketPromises     = []byte("promises")
	bucketAwaited      = []byte("awaited")
	bucketRemoved      = []byte("removed")
	bucketForgotten    = []byte("forgotten")
	bucketSenders      = []byte("senders")

	buckets = [][]byte{bucketMeta, bucketCases, bucketNewest, bucketHistory, bucketDeliveries, bucketResults,
		bucketDue, bucketDead, bucketCounts, bucketUncommitted, bucketTransactions, bucketPromises, bucketOutcomes, bucketLate,
		bucketPatients, bucketExams, bucketAwaited, bucketRemoved, bucketForgotten, bucketSenders}
	keyVersion  = []byte("version")
	keyRunning  = []byte("running")
	keyNode     = []byte("node")
	keyEventLog = []byte("event-log")
)

// Store is the open state file. It is safe for concurrent use. Only one process at a time can open the file.
type Store struct {
	db      *bolt.DB
	base    time.Duration        // running time when the file was opened
	elapsed func() time.Duration // time since then, by the monotonic clock
	node    string
}

// Open opens or creates the state file at path; its folder must exist. It returns ErrLocked if another process has the file
// open, ErrDamaged if its structure is wrong, ErrVersion if a newer ichor wrote it (the file is not changed), and errors of the
// disk as they are. Before it converts a file of an earlier version it keeps a copy, <path>.format<version>, with which that
// version can be installed again. It compacts a file that is mostly empty. It opens a file of this version without writing, so that it works
// on a full disk.
func Open(path string) (s *Store, err error) {
	_, statErr := os.Stat(path)
	created := errors.Is(statErr, os.ErrNotExist)
	s, err = openFile(path)
	if err == nil && s.wasteful() && compact(s, path) {
		s.db.Close()
		s, err = openFile(path)
	}
	if err == nil && created {
		err = syncFolder(filepath.Dir(path))
	}
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s is in use by another process (another ichor with the same state folder?); stop it or use another --state folder: %w", path, ErrLocked)
	case errors.Is(err, ErrVersion):
		return nil, fmt.Errorf("state file %s: %w; install that version or use another --state folder", path, err)
	}
	if created { // remove an incomplete new file
		os.Remove(path)
	}
	return nil, cannotOpen(path, err)
}

func openFile(path string) (s *Store, err error) {
	var db *bolt.DB
	defer func() {
		if err != nil && db != nil && !errors.Is(err, ErrUnreadable) && !errors.Is(err, ErrDamaged) { // Close would hit the fault again
			db.Close()
		}
	}()
	defer guard(&err)()
	db, err = bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         lockTimeout,
		FreelistType:    bolt.FreelistMapType,
		PreLoadFreelist: true,
		OpenFile:        openVerified,
	})
	if err != nil {
		return nil, err
	}
	ready := false
	if err := db.View(func(tx *bolt.Tx) (err error) { ready, err = prepared(tx); return err }); err != nil {
		return nil, err
	}
	if !ready {
		if err := keepFormer(db); err != nil {
			return nil, err
		}
		if err := db.Update(prepare); err != nil {
			return nil, err
		}
	}
	opened := time.Now()
	s = &Store{db: db, elapsed: func() time.Duration { return time.Since(opened) }}
	err = db.View(func(tx *bolt.Tx) error {
		s.base = ran(tx)
		if err := json.Unmarshal(tx.Bucket(bucketMeta).Get(keyNode), &s.node); err != nil {
			return fmt.Errorf("%w: name of the node: %w", ErrDamaged, err)
		}
		return nil
	})
	return s, err
}

// cannotOpen returns an error that says what to do about a file that cannot be opened. Only damage is a reason to move the
// file away: received objects do not depend on it, but deliveries and dead letters would be lost.
func cannotOpen(path string, err error) error {
	what := func(s string) error { return fmt.Errorf("state file %s: %w; %s", path, err, s) }
	is := func(list ...syscall.Errno) bool {
		return slices.ContainsFunc(list, func(e syscall.Errno) bool { return errors.Is(err, e) })
	}
	switch {
	case is(syscall.EMFILE, syscall.ENFILE):
		return what("raise the limit of open files (LimitNOFILE of the service) and start again")
	case is(syscall.ENOMEM):
		return what("the machine is out of memory: free memory or raise the limit (MemoryMax of the service) and start again")
	case is(syscall.ENOSPC, syscall.EDQUOT):
		return what("free disk space; keep the file")
	case is(syscall.EROFS):
		return what("the disk is mounted read-only: look for the reason in the kernel's log and mount it writable; keep the file")
	case is(syscall.EIO), errors.Is(err, ErrUnreadable):
		return what("the disk could not read or write it: check the disk, its cables and the kernel's log; keep the file")
	case errors.Is(err, os.ErrPermission):
		return what("make it and its folder readable and writable for this user and start again")
	case errors.Is(err, os.ErrNotExist):
		return what("create its folder, writable for this user, or use another --state folder")
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch),
		errors.Is(err, errStructure), errors.Is(err, ErrDamaged):
		return fmt.Errorf("%s: %w (%v); move it away and start again: received objects are still in the spool and will be analysed again", path, ErrDamaged, err)
	}
	return what("fix this and start again; keep the file")
}

// prepared reports whether a file has all buckets of this version.
func prepared(tx *bolt.Tx) (bool, error) {
	for _, name := range buckets {
		if tx.Bucket(name) == nil {
			if meta := tx.Bucket(bucketMeta); meta != nil {
				_, err := versionOf(meta)
				return false, err
			}
			return false, nil
		}
	}
	version, err := versionOf(tx.Bucket(bucketMeta))
	return version == formatVersion, err
}

// versionOf returns the format version in a file, 0 if it has none.
func versionOf(meta *bolt.Bucket) (version int, err error) {
	raw := meta.Get(keyVersion)
	if raw == nil {
		return 0, nil
	}
	if err := json.Unmarshal(raw, &version); err != nil {
		return 0, fmt.Errorf("%w: format version %q: %w", ErrDamaged, raw, err)
	}
	if version > formatVersion {
		return 0, fmt.Errorf("format version %d, this ichor reads up to %d: %w", version, formatVersion, ErrVersion)
	}
	return version, nil
}

// prepare creates the buckets of a new file and converts an old one to this version.
func prepare(tx *bolt.Tx) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return fmt.Errorf("bucket %s: %w", name, err)
		}
	}
	meta := tx.Bucket(bucketMeta)
	version, err := versionOf(meta)
	if err != nil {
		return err
	}
	if meta.Get(keyNode) == nil {
		name := make([]byte, 8)
		_, _ = rand.Read(name) // never fails
		if err := putJSON(meta, keyNode, hex.EncodeToString(name)); err != nil {
			return err
		}
	}
	if version > 0 && version < formatVersion {
		err = migrate(tx, time.Now())
	}
	return errors.Join(err, putJSON(meta, keyVersion, formatVersion))
}

// Node returns the name of this node among those that share a queue: random, created with the file.
func (s *Store) Node() string { return s.node }

// running returns the total time for which the file was open. A crash loses the time since the last transaction.
func (s *Store) running() time.Duration { return s.base + s.elapsed() }

// ran returns the running time at which a transition takes place.
func ran(tx *bolt.Tx) time.Duration {
	var d time.Duration
	if raw := tx.Bucket(bucketMeta).Get(keyRunning); raw == nil || json.Unmarshal(raw, &d) != nil {
		return 0
	}
	return d
}

// syncFolder makes the entry of a new file durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// update runs one transition.
func (s *Store) update(fn func(*bolt.Tx) error) (err error) {
	defer guard(&err)()
	return s.db.Update(func(tx *bolt.Tx) error {
		if err := putJSON(tx.Bucket(bucketMeta), keyRunning, max(s.running(), ran(tx))); err != nil {
			return err
		}
		return fn(tx)
	})
}

// view runs one read.
func (s *Store) view(fn func(*bolt.Tx) error) (err error) {
	defer guard(&err)()
	return s.db.View(fn)
}

// guard turns faults and panics caused by a bad file or disk into errors. bbolt maps the file into memory, so an unreadable
// page is a memory fault and would end the process: that gives ErrUnreadable. bbolt panics on some kinds of damage: that gives
// ErrDamaged. A panic from any other code is our bug and continues with its stack.
func guard(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		byBolt := panickedIn("go.etcd.io/bbolt")
		switch r := recover().(type) {
		case nil:
		case interface {
			runtime.Error
			Addr() uintptr
		}: // a nil pointer has no Addr
			*err = fmt.Errorf("%w: %v", ErrUnreadable, r)
		default:
			if !byBolt {
				panic(r)
			}
			*err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}
}

// panickedIn reports whether the function that panicked is in this package or one below it. Call it in a deferred function.
func panickedIn(pkg string) bool {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)]) // skip Callers, panickedIn and the deferred function
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			return strings.HasPrefix(f.Function, pkg)
		}
		if !more {
			return false
		}
	}
}

func putJSON(b *bolt.Bucket, key []byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put(key, raw)
}
