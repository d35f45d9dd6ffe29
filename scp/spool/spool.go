// Package spool keeps received SOP instances on disk, durable before success is answered.
//
//	<dir>/segments/<n>.seg     records one after the other, of one association at a time; each object is a complete
//	                           Part 10 file between a header and a trailer with its digests (see record.go)
//	<dir>/segments/spare-<n>   zeros, for segments to come (see prepare.go)
//	<dir>/lock                 held while a process uses the spool
//
// Commit returns after fdatasync of the segment and, once per segment, fsync of its folder; only then may C-STORE
// answer 0000H. Each association syncs a file of its own, at the same time as the others; one sync for all was
// measured to be no faster. A record counts when its trailer is there and every digest matches. Removing a study
// appends a tombstone; a segment is deleted when nothing in it is live.
//
// What was acknowledged is never cut off a segment:
//
//	a write that was torn       its header, meta or trailer never reached the disk, or it goes beyond the file: nobody
//	                            was told that it is stored, and Open cuts it off
//	wrong bytes                 they stay where they are and are listed by Damaged, at the end of a segment as well,
//	                            where they may be a torn write or an object that was acknowledged
//	bytes that cannot be read   (EIO, ESTALE and the like) the segment is left exactly as it is, read-only, and is not
//	                            deleted by this run; what can be read of it is served, the rest is listed by Damaged.
//	                            A start on a disk that can be read again finds everything. Starting loses less than
//	                            not starting: new objects are received, and the readable ones are analysed.
//
// Open also starts on a full and on a read-only disk: Ready says why no object is taken, until it is over.
//
//	record.go    the format                 recover.go  Open: from what is on disk to the index   tail.go  its end
//	intake.go    one association            scrub.go    digests, verified in the background and before use
//	writer.go    one object                 ready.go    full, read-only and failing disks         cause.go  their words
//	prepare.go   blocks written ahead       remove.go   tombstones          find.go   by SOP Instance UID
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

// Errors a caller branches on.
var (
	// ErrNoSpace: the disk is full or below the reserve; C-STORE answers A700H (PS3.4 Table B.2-1).
	ErrNoSpace = errors.New("no space in the spool")
	// ErrUnwritable: the file system is read-only or fails; A700H too, for it may pass.
	ErrUnwritable = errors.New("spool cannot be written")
	// ErrResources: this process has no file descriptor or memory left; A700H as well.
	ErrResources = errors.New("out of system resources")
	// ErrDamaged: the bytes on disk do not match their digests.
	ErrDamaged = errors.New("stored object is damaged")
	// ErrTooLarge: the object is longer than Options.MaxObjectBytes.
	ErrTooLarge = errors.New("object too large")
	// ErrIdentity: the data set has no usable UIDs, or others than the C-STORE command.
	ErrIdentity = errors.New("data set does not match the command")
	// ErrClosed: the spool, intake or writer was closed or has failed before.
	ErrClosed = errors.New("spool closed")
)

// Options of Open. Zero values stand for the defaults.
type Options struct {
	Dir            string
	MaxObjectBytes int64        // 4 GiB
	ReserveBytes   int64        // Create refuses below this many free bytes; 1 GiB, negative for none
	SegmentBytes   int64        // a new segment is begun above this; 256 MiB
	SpareBytes     int64        // that Prepare keeps written ahead, in files of 64 MiB; 512 MiB, negative for none
	ScrubBytes     int64        // a second, read by Scrub; 32 MiB, negative for no bound
	Logger         *slog.Logger // nil discards
}

// Meta is what is known of an object without reading it.
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
	Conflict bool   // other content under the same SOP instance UID was there before

	at location
}

// location is where a record begins: it never changes and is never used again.
type location struct {
	Segment uint64 `json:"segment"`
	Offset  int64  `json:"offset"` // of the record header
}

// Damaged is a record whose bytes do not match its digests, or cannot be read. It is left where it is.
type Damaged struct {
	Segment string // file name
	Offset  int64
	Reason  string
}

// Spool is safe for concurrent use.
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
	spares    []string   // files of zeros, whole
	spareSize int64
	used      atomic.Int64 // when something was last received, in Unix nanoseconds

	view       bool              // of another process's spool: nothing is written
	unverified map[location]bool // objects of a former run whose bytes were not read in this one
	scrub      Progress

	unsynced bool       // the file of a segment was deleted and the folder not synced since
	removing sync.Mutex // RemoveStudy, tombs; s.mu is never held over I/O
	tombs    []tombstone
	admin    *segment // where tombstones go, nil until the first
}

// usage is what a segment is still needed for.
type usage struct {
	live int  // objects in the index
	open bool // an intake appends to it, or will

	unread bool  // a part could not be read: it is left as it is
	bytes  int64 // of the committed records
}

// Open takes possession of opts.Dir, made if absent, drops what an interrupted write left, and rebuilds the index. It
// reads the seals, and in segments without one everything but the payloads: what was stored is verified by Scrub, or
// when it is asked for. A full or read-only disk is no error: Ready tells of it.
func Open(ctx context.Context, opts Options) (*Spool, error) { return openOn(ctx, opts, realDisk()) }

func openOn(ctx context.Context, opts Options, d disk) (*Spool, error) {
	if opts.Dir == "" {
		return nil, errors.New("spool folder not set: name one")
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

// Close ends the use of the folder. Sessions should be closed before; what they do afterwards is ErrClosed.
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

// Damaged lists what was found damaged so far, and what could not be read.
func (s *Spool) Damaged() []Damaged {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.damaged)
}

// Bytes is what the stored objects take on disk, and what was removed from segments that others are in.
func (s *Spool) Bytes() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.segments {
		n += u.bytes
	}
	return n
}

// Free is the number of bytes that may still be written to the file system. Spares count: they are given up when need be.
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

// add puts o into the index. s.mu is held.
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

// Read opens an object: a whole Part 10 file. ErrDamaged: it is not what was received. Errors of the disk or of this
// process, such as EIO and EMFILE, come back as they are; the object stays. The study may be removed meanwhile; an open
// reader stays good.
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

// Size is the length of the file in bytes.
func (r *Reader) Size() int64 { return r.SectionReader.Size() }

// Close releases the file.
func (r *Reader) Close() error { return r.file.Close() }
