// Package state keeps what ichor knows about cases and their deliveries, in one bbolt file.
//
//	meta        format version of the file
//	cases       case -> Case
//	newest      created time, case -> nothing (an index: cases by age)
//	history     case, number -> Event
//	deliveries  SOP Instance UID, destination -> Delivery
//	results     case, number -> key of a delivery (an index: deliveries of a case in order of sending)
//	due         destination, class, time, number -> key of a delivery (an index: pending deliveries as they are sent)
//	uncommitted destination, time, number -> key of a delivery (an index: stored ones that commitment is to be asked for)
//	transactions  Transaction UID -> Transaction (Storage Commitment that we asked destinations for)
//	promises    AE title, Transaction UID -> Promise (Storage Commitment that peers asked us for)
//	outcomes    case, revision -> Outcome
//	late        number -> key of a delivery (an index: stored though superseded, rejection note not made yet)
//	patients    keyed digest of the patient, case -> when scanned (an index: findings of one patient; names nobody)
//	exams       case -> its key in patients
//	dead        number -> key of a delivery (an index: dead letters in order)
//	counts      phase, or destination and delivery state -> number
//
// Values are JSON with a version, times are UTC. Every transition is one transaction that also holds its history and
// its indexes, so a process that is killed leaves either the step before or the step after, never half of one.
// The spool is the truth for objects, this package for decisions, the queue for work in flight: Store.Resume says
// what a restart has to do with a study, and everything it asks for may be repeated without harm.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Errors that callers branch on.
var (
	ErrNotFound   = errors.New("not found")
	ErrTransition = errors.New("transition not allowed")
	ErrStale      = errors.New("overtaken by a newer revision") // the work was for a revision that is not the present one
	ErrLocked     = errors.New("state file is in use")
	ErrDamaged    = errors.New("state file is damaged")
	ErrVersion    = errors.New("written by a newer ichor")
)

// formatVersion is the version of the file and of every value in it.
const formatVersion = 2

// lockTimeout is how long Open waits for another process to let go of the file: a service that is being restarted
// may overlap with its successor for a moment.
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

	buckets = [][]byte{bucketMeta, bucketCases, bucketNewest, bucketHistory, bucketDeliveries, bucketResults,
		bucketDue, bucketDead, bucketCounts, bucketUncommitted, bucketTransactions, bucketPromises, bucketOutcomes, bucketLate,
		bucketPatients, bucketExams}
	keyVersion = []byte("version")
)

// Store is the open state file. It is safe for concurrent use; one process at a time may hold the file.
type Store struct {
	db *bolt.DB
}

// Open opens or creates the state file at path; its folder must exist. It returns ErrLocked when another process
// holds the file, ErrDamaged when the file cannot be read as what it should be, and ErrVersion when a newer ichor
// wrote it.
func Open(path string) (s *Store, err error) {
	defer func() {
		if errors.Is(err, errFault) {
			s, err = nil, damaged(path, err)
		}
	}()
	defer guard(&err)()
	_, statErr := os.Stat(path)
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         lockTimeout,
		FreelistType:    bolt.FreelistMapType,
		PreLoadFreelist: true,
		OpenFile:        openVerified,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s is held by another process (another ichor with the same state folder?); stop it or use another --state folder: %w", path, ErrLocked)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, errStructure):
		return nil, damaged(path, err)
	case err != nil && statErr == nil && !errors.Is(err, os.ErrPermission):
		return nil, damaged(path, err)
	case err != nil:
		return nil, fmt.Errorf("state file %s: %w; make its folder writable for this user", path, err)
	}
	defer func() {
		if err != nil && !errors.Is(err, errFault) {
			db.Close()
		}
	}()
	if err := db.Update(prepare); err != nil {
		if errors.Is(err, ErrVersion) {
			return nil, fmt.Errorf("state file %s: %w; install that version or use another --state folder", path, err)
		}
		return nil, damaged(path, err)
	}
	if os.IsNotExist(statErr) {
		if err := syncFolder(filepath.Dir(path)); err != nil {
			return nil, fmt.Errorf("state file %s: %w", path, err)
		}
	}
	return &Store{db: db}, nil
}

// damaged says what to do about a file that cannot be read: nothing in it is needed to keep received objects.
func damaged(path string, cause error) error {
	return fmt.Errorf("%s: %w (%v); move it away and start again: received objects are kept in the spool and are analysed anew", path, ErrDamaged, cause)
}

// prepare makes the buckets of a new file and checks the version of an old one.
func prepare(tx *bolt.Tx) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return fmt.Errorf("bucket %s: %w", name, err)
		}
	}
	meta := tx.Bucket(bucketMeta)
	raw := meta.Get(keyVersion)
	if raw == nil {
		return putJSON(meta, keyVersion, formatVersion)
	}
	var version int
	if err := json.Unmarshal(raw, &version); err != nil {
		return fmt.Errorf("format version %q: %w", raw, err)
	}
	if version > formatVersion {
		return fmt.Errorf("format version %d, this ichor reads up to %d: %w", version, formatVersion, ErrVersion)
	}
	if version < 2 {
		return errors.Join(reindex(tx), putJSON(meta, keyVersion, formatVersion))
	}
	return nil
}

// syncFolder makes the entry of a new file durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Close ends all use of the file.
func (s *Store) Close() error { return s.db.Close() }

// update runs one transition.
func (s *Store) update(fn func(*bolt.Tx) error) (err error) {
	defer guard(&err)()
	return s.db.Update(fn)
}

// view runs one read.
func (s *Store) view(fn func(*bolt.Tx) error) (err error) {
	defer guard(&err)()
	return s.db.View(fn)
}

// errFault is a panic of the store, or a fault on a page of the file that cannot be read.
var errFault = fmt.Errorf("%w: fault while reading it", ErrDamaged)

// guard makes panics of this goroutine into an error: bbolt panics on some kinds of damage, and it maps the file into
// memory, so a file that was cut off, or a disk that cannot be read, is a memory fault and would end the process.
func guard(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			*err = fmt.Errorf("%w: %v", errFault, r)
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
