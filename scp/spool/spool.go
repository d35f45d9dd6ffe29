// Package spool keeps received SOP instances on disk, durable before success is answered.
//
//	<dir>/segments/<n>.seg     consecutive records, written by one association at a time; each object is a complete
//	                           Part 10 file between a header and a trailer with its digests (see record.go)
//	<dir>/segments/spare-<n>   zeros, preallocated for new segments (see prepare.go)
//	<dir>/lock                 held while a process uses the spool
//
// Commit returns after fdatasync of the segment and, once per segment, fsync of its folder; only then may C-STORE
// answer 0000H. Each association syncs its own file, in parallel with the others; one sync for all was measured to be no
// faster. A record is valid if it has a trailer and every digest matches. Removing a study appends a tombstone; a segment is
// deleted when nothing in it is live.
//
// Acknowledged records are never cut off a segment:
//
//	torn write                  its header, meta or trailer never reached the disk, or it extends beyond the file: it was
//	                            never acknowledged, and Open cuts it off
//	wrong bytes                 they stay where they are and Damaged lists them, even at the end of a segment, where they
//	                            may be a torn write or an acknowledged object
//	unreadable bytes            (EIO, ESTALE and the like) this process does not change or delete the segment; it serves
//	                            what can be read, and Damaged lists the rest. When the disk can be read again, a restart
//	                            finds everything. Starting in spite of this loses less than not starting: new objects
//	                            are received, and readable ones are analysed.
//
// Open also works on a full or read-only disk: Ready then says why no object can be stored, until the disk recovers.
//
//	record.go    the format                 recover.go  Open: from what is on disk to the index   tail.go  its end
//	intake.go    one association            scrub.go    digests, verified in the background and before use
//	writer.go    one object                 ready.go    full, read-only and failing disks         cause.go  error texts
//	prepare.go   preallocated segments      remove.go   tombstones          find.go   by SOP Instance UID
//	folder.go    the folder and its lock    view.go     the spool of a running node, read from outside
package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ichor/scp/dcm"
)

// Errors that callers distinguish.
var (
	// ErrNoSpace: the disk is full or below the reserve; C-STORE answers A700H (PS3.4 Table B.2-1).
	ErrNoSpace = errors.New("no space in the spool")
	// ErrUnwritable: the file system is read-only or failing; also A700H, because this may be temporary.
	ErrUnwritable = errors.New("spool cannot be written")
	// ErrResources: this process has no file descriptor or memory left; also A700H.
	ErrResources = errors.New("out of system resources")
	// ErrDamaged: the bytes on disk do not match their digests.
	ErrDamaged = errors.New("stored object is damaged")
	// ErrTooLarge: the object is longer than Options.MaxObjectBytes.
	ErrTooLarge = errors.New("object too large")
	// ErrIdentity: the data set has no valid UIDs, or they differ from those in the C-STORE command.
	ErrIdentity = errors.New("data set does not match the command")
	// ErrClosed: the spool, intake or writer was closed or has failed before.
	ErrClosed = errors.New("spool closed")
)

// Options configure Open. Zero values take the defaults given.
type Options struct {
	Dir            string
	MaxObjectBytes int64        // 4 GiB
	ReserveBytes   int64        // Create returns ErrNoSpace below this many free bytes; 1 GiB, negative for none
	SegmentBytes   int64        // a segment longer than this is not appended to; 256 MiB
	SpareBytes     int64        // preallocated by Prepare, in files of 64 MiB; 512 MiB, negative for none
	ScrubBytes     int64        // read by Scrub per second; 32 MiB, negative for no limit
	Logger         *slog.Logger // nil: no logging
}

// Meta is what is known about an object without reading it.
type Meta struct {
	dcm.Identifiers
	TransferSyntaxUID string
	CallingAE         string
	Received          time.Time // UTC
}

// Object is one stored SOP instance.
type Object struct {
	Meta
	Size     int64  // bytes of the Part 10 file
	SHA256   string // of the data set as received, hex
	Conflict bool   // different content was already stored under the same SOP instance UID

	at location
}

// location is where a record starts. It never changes and is never reused.
type location struct {
	Segment uint64 `json:"segment"`
	Offset  int64  `json:"offset"` // of the record header
}

// Damaged is a record whose bytes do not match its digests or cannot be read. It stays where it is.
type Damaged struct {
	Segment string // file name
	Offset  int64
	Reason  string
}

// Spool keeps received objects on disk. It is safe for concurrent use.
type Spool struct {
	opts Options
	disk disk
	dir  string // of the segments
	lock *os.File

	mu       sync.Mutex
	closed   bool
	next     uint64 // number of the next segment
	objects  map[string][]Object
	studies  map[string][]string // SOP instance UIDs in order of arrival
	pending  map[string]chan struct{}
	segments map[uint64]*usage
	damaged  []Damaged
	trouble  trouble

	resting   []*segment // open, for the next intakes
	spares    []string   // complete files of zeros
	spareSize int64
	used      atomic.Int64 // when something was last received, in Unix nanoseconds

	view       bool              // the spool belongs to another process: write nothing
	unverified map[location]bool // objects from earlier runs, not verified by this one yet
	scrub      Progress

	unsynced bool       // a segment file was deleted and the folder not synced since
	removing sync.Mutex // RemoveStudy, tombs; s.mu is never held over I/O
	tombs    []tombstone
	admin    *segment // for tombstones, nil until the first
}

// usage records what a segment is still needed for.
type usage struct {
	live int  // objects in the index
	open bool // an intake appends to it, or will

	unread bool  // a part could not be read: the segment is not changed
	bytes  int64 // up to the end of the last committed record, while an intake appends; at least the objects otherwise
}

// Open locks opts.Dir, created if missing, drops interrupted writes, and rebuilds the index. It reads the seals, and in
// segments without one everything except the payloads: Scrub verifies those later, or Read when an object is needed. A full
// or read-only disk is not an error: see Ready.
func Open(ctx context.Context, opts Options) (*Spool, error) { return openOn(ctx, opts, realDisk()) }

func openOn(ctx context.Context, opts Options, d disk) (*Spool, error) {
	if opts.Dir == "" {
		return nil, errors.New("spool folder not set")
	}
	s := newSpool(opts, d)
	if err := s.takeFolder(); err != nil {
		return nil, err
	}
	if err := s.recover(ctx); err != nil {
		s.lock.Close()
		return nil, fmt.Errorf("spool %s: %w", opts.Dir, err)
	}
	return s, nil
}

// newSpool sets the defaults.
func newSpool(opts Options, d disk) *Spool {
	if opts.MaxObjectBytes <= 0 {
		opts.MaxObjectBytes = 4 << 30
	}
	if opts.SegmentBytes <= 0 {
		opts.SegmentBytes = 256 << 20
	}
	if opts.SpareBytes == 0 {
		opts.SpareBytes = 512 << 20
	}
	if opts.ScrubBytes == 0 {
		opts.ScrubBytes = 32 << 20
	}
	if opts.ReserveBytes == 0 {
		opts.ReserveBytes = 1 << 30
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Spool{opts: opts, disk: d, dir: filepath.Join(opts.Dir, "segments"), next: 1,
		objects: map[string][]Object{}, studies: map[string][]string{}, pending: map[string]chan struct{}{},
		segments: map[uint64]*usage{}, unverified: map[location]bool{}, spareSize: defaultSpareSize}
}

// Close closes the spool and unlocks its folder. Close sessions first; afterwards their methods return ErrClosed.
func (s *Spool) Close() error {
	s.removing.Lock()
	defer s.removing.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	resting := s.resting
	s.resting = nil
	s.mu.Unlock()
	var errs []error
	for _, g := range resting {
		errs = append(errs, s.retire(g, false))
	}
	if s.admin != nil {
		errs = append(errs, s.admin.file.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// Study returns the live objects of a study in order of arrival.
func (s *Spool) Study(studyInstanceUID string) []Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Object
	for _, sop := range s.studies[studyInstanceUID] {
		for _, o := range s.objects[sop] {
			if o.StudyInstanceUID == studyInstanceUID {
				out = append(out, o)
			}
		}
	}
	return out
}

// Studies returns the StudyInstanceUIDs with live objects, sorted.
func (s *Spool) Studies() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]string, 0, len(s.studies))
	for uid := range s.studies {
		out = append(out, uid)
	}
	slices.Sort(out)
	return out
}

// Damaged lists the records found damaged or unreadable so far.
func (s *Spool) Damaged() []Damaged {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.damaged)
}

// Bytes returns the disk space used by stored objects, and by removed ones in segments that still have live objects.
func (s *Spool) Bytes() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.segments {
		n += u.bytes
	}
	return n
}

// Free returns how many bytes can still be written to the file system. Spares count as free: they are deleted if necessary.
func (s *Spool) Free() (uint64, error) {
	s.mu.Lock()
	spares := uint64(int64(len(s.spares)) * s.spareSize)
	s.mu.Unlock()
	free, err := s.disk.free(s.opts.Dir)
	return free + spares, err
}

// find returns the object with this SOP instance UID and digest. s.mu is held.
func (s *Spool) find(sop, digest string) (Object, bool) {
	for _, o := range s.objects[sop] {
		if o.SHA256 == digest {
			return o, true
		}
	}
	return Object{}, false
}

// outdated reports whether other content came later under the UIDs of o. s.mu is held.
func (s *Spool) outdated(o Object) bool {
	return slices.ContainsFunc(s.objects[o.SOPInstanceUID], func(p Object) bool {
		return p.SHA256 != o.SHA256 && p.StudyInstanceUID == o.StudyInstanceUID && p.SeriesInstanceUID == o.SeriesInstanceUID && p.Received.After(o.Received)
	})
}

// add adds o to the index. s.mu is held.
func (s *Spool) add(o Object) {
	if !slices.ContainsFunc(s.objects[o.SOPInstanceUID], func(p Object) bool { return p.StudyInstanceUID == o.StudyInstanceUID }) {
		s.studies[o.StudyInstanceUID] = append(s.studies[o.StudyInstanceUID], o.SOPInstanceUID)
	}
	s.objects[o.SOPInstanceUID] = append(s.objects[o.SOPInstanceUID], o)
	u := s.segments[o.at.Segment]
	u.live++
	u.bytes = max(u.bytes, o.at.Offset+recordHeaderLen+o.Size+trailerLen)
}

func segmentName(n uint64) string { return fmt.Sprintf("%012d.seg", n) }

func (s *Spool) path(segment uint64) string { return filepath.Join(s.dir, segmentName(segment)) }

// Reader reads one stored Part 10 file.
type Reader struct {
	*io.SectionReader
	file *os.File
}

// Read opens an object as a complete Part 10 file. ErrDamaged: its bytes are not those received. Errors of the disk or of
// this process, such as EIO and EMFILE, are returned as they are and the object stays. An open reader stays valid even if the
// study is removed.
func (s *Spool) Read(o Object) (*Reader, error) {
	if err := s.verified(o); err != nil {
		return nil, err
	}
	f, err := os.Open(s.path(o.at.Segment))
	if err != nil {
		return nil, fmt.Errorf("spooled object: %w", err)
	}
	return &Reader{io.NewSectionReader(s.file(f), o.at.Offset+recordHeaderLen, o.Size), f}, nil
}

// Size returns the length of the file in bytes.
func (r *Reader) Size() int64 { return r.SectionReader.Size() }

// Close releases the file.
func (r *Reader) Close() error { return r.file.Close() }
