package spool

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ichor/scp/dcm"
)

// recovery is what Open learns from the segments.
type recovery struct {
	spool   *Spool
	objects []Object // of all segments, in order
	read    int64    // bytes
	total   int64
	told    time.Time
}

// recover reads every segment, verifies it, and builds the index.
func (s *Spool) recover(ctx context.Context) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	r := &recovery{spool: s, told: time.Now()}
	var numbers []uint64
	for _, e := range entries {
		name, is := strings.CutSuffix(e.Name(), ".seg")
		n, err := strconv.ParseUint(name, 10, 64)
		if !is || err != nil || e.Name() != filepath.Base(s.path(n)) {
			continue
		}
		if info, err := e.Info(); err == nil {
			r.total += info.Size()
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	start := time.Now()
	for i, n := range numbers {
		s.segments[n], s.next = &usage{}, n+1
		if err := r.segment(ctx, n); err != nil {
			return fmt.Errorf("segment %s: %w", filepath.Base(s.path(n)), err)
		}
		r.progress(i+1, len(numbers))
	}
	r.index()
	if err := s.sweep(); err != nil {
		return err
	}
	if len(numbers) > 0 {
		s.opts.Logger.Info("spool verified", "segments", len(numbers), "bytes", r.total, "objects", len(s.objects),
			"damaged", len(s.damaged), "took", time.Since(start).Round(time.Millisecond))
	}
	return nil
}

func (r *recovery) progress(done, all int) {
	if time.Since(r.told) > 5*time.Second {
		r.told = time.Now()
		r.spool.opts.Logger.Info("spool being verified", "segments", done, "of", all, "bytes", r.read, "of_bytes", r.total)
	}
}

// index enters what is live: not removed, and each object once. An object can be there twice where its segment was
// given up at a failed sync and the sender tried again.
func (r *recovery) index() {
	s := r.spool
	dead := map[location]bool{}
	for _, t := range s.tombs {
		for _, at := range t.removed {
			dead[at] = true
			s.next = max(s.next, at.Segment+1) // or a new segment could take the number of a removed one
		}
	}
	for _, o := range r.objects {
		if _, twice := s.find(o.SOPInstanceUID, o.SHA256); !twice && !dead[o.at] {
			s.add(o)
		}
	}
}

// segment reads one file. What an interrupted write left at the end is cut off; records that were finished and do
// not verify are reported and stepped over.
func (r *recovery) segment(ctx context.Context, n uint64) error {
	f, err := os.OpenFile(r.spool.path(n), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	nonce, err := readNonce(f, size)
	if errors.Is(err, errNoRecords) {
		return r.cut(f, n, 0, size)
	} else if err != nil {
		r.damage(n, 0, err.Error())
		return nil
	}
	at := int64(segmentHeaderLen)
	for at < size {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := readHeader(f, at, size, nonce)
		if err != nil {
			next := findHeader(f, at+1, size, nonce)
			if next < 0 && !endsWithTrailer(f, at, size) {
				return r.cut(f, n, at, size)
			}
			r.damage(n, at, err.Error())
			if next < 0 {
				return nil
			}
			at = next
			continue
		}
		if err := r.record(f, n, at, h); err != nil {
			var io *os.PathError
			if errors.As(err, &io) {
				return err
			}
			r.damage(n, at, err.Error())
		}
		at += h.length()
		r.read += h.length()
	}
	return nil
}

// cut removes a torn tail, which nobody was told is stored.
func (r *recovery) cut(f *os.File, n uint64, at, size int64) error {
	if at == size {
		return nil
	}
	r.spool.opts.Logger.Warn("interrupted write dropped", "segment", filepath.Base(f.Name()), "offset", at, "bytes", size-at)
	if err := f.Truncate(at); err != nil {
		return err
	}
	return r.spool.disk.sync(f)
}

func (r *recovery) damage(n uint64, at int64, reason string) {
	d := Damaged{Segment: filepath.Base(r.spool.path(n)), Offset: at, Reason: reason}
	r.spool.damaged = append(r.spool.damaged, d)
	r.spool.opts.Logger.Error("damaged record set aside; have the object sent again", "segment", d.Segment, "offset", at, "err", reason)
}

// errNoRecords: the segment was begun and nothing in it was ever committed.
var errNoRecords = errors.New("segment without records")

// readNonce reads the segment header. Where that is damaged the first record header gives the nonce.
func readNonce(f *os.File, size int64) (nonce [16]byte, err error) {
	b := make([]byte, segmentHeaderLen+recordHeaderLen)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nonce, err
	}
	if n < len(b) {
		return nonce, errNoRecords
	}
	if sealed(b[:segmentHeaderLen]) && string(b[:16]) == segmentMagic {
		return [16]byte(b[16:]), nil
	}
	nonce = [16]byte(b[segmentHeaderLen:])
	if _, err := decodeHeader(b[segmentHeaderLen:], nonce); err == nil {
		return nonce, nil
	}
	return nonce, errors.New("segment header and first record header do not match their checksums")
}

// readHeader reads the record header at offset at; errUnfinished too where the record goes beyond the file.
func readHeader(f *os.File, at, size int64, nonce [16]byte) (header, error) {
	if at+recordHeaderLen+trailerLen > size {
		return header{}, errUnfinished
	}
	b := make([]byte, recordHeaderLen)
	if _, err := f.ReadAt(b, at); err != nil {
		return header{}, err
	}
	h, err := decodeHeader(b, nonce)
	if err == nil && at+h.length() > size {
		err = errUnfinished
	}
	return h, err
}

// findHeader looks for the next good record header from offset at, -1 where there is none.
func findHeader(f *os.File, at, size int64, nonce [16]byte) int64 {
	buf := make([]byte, min(1<<20, size))
	for at < size {
		n, err := f.ReadAt(buf, at)
		if n < len(nonce) {
			return -1
		}
		for i := 0; ; i++ {
			j := bytes.Index(buf[i:n], nonce[:])
			if j < 0 {
				break
			}
			i += j
			if _, err := readHeader(f, at+int64(i), size, nonce); err == nil {
				return at + int64(i)
			}
		}
		if err != nil {
			return -1
		}
		at += int64(n - len(nonce) + 1)
	}
	return -1
}

// endsWithTrailer reports whether the rest of the file from at is one record by its trailer: then it was committed,
// and its header was damaged later.
func endsWithTrailer(f *os.File, at, size int64) bool {
	b := make([]byte, trailerLen)
	if size-at < recordHeaderLen+trailerLen {
		return false
	}
	if _, err := f.ReadAt(b, size-trailerLen); err != nil {
		return false
	}
	return binary.LittleEndian.Uint64(b[64:]) == uint64(size-at) && string(b[72:]) == trailerMagic
}

// record verifies one record and keeps what it says.
func (r *recovery) record(f *os.File, n uint64, at int64, h header) error {
	in := bufio.NewReaderSize(io.NewSectionReader(f, at+recordHeaderLen, h.length()-recordHeaderLen),
		int(min(h.length(), 1<<20)))
	if h.prefix > 4096 {
		return fmt.Errorf("file meta information of %d bytes", h.prefix)
	}
	prefix := make([]byte, h.prefix)
	if _, err := io.ReadFull(in, prefix); err != nil {
		return err
	}
	d := sha256.New()
	if _, err := io.CopyN(d, in, int64(h.payload)-int64(h.prefix)); err != nil {
		return err
	}
	sum := [32]byte(d.Sum(nil))
	meta := make([]byte, h.meta) // at most maxMetaLen, and inside the file
	trailer := make([]byte, trailerLen)
	if _, err := io.ReadFull(in, meta); err != nil {
		return err
	}
	if _, err := io.ReadFull(in, trailer); err != nil {
		return err
	}
	if !bytes.Equal(trailer, encodeTrailer(h, prefix, meta, sum)) {
		return errors.New("SHA-256 does not match")
	}
	switch h.kind {
	case objectRecord:
		var m objectMeta
		if err := json.Unmarshal(meta, &m); err != nil {
			return err
		}
		r.objects = append(r.objects, Object{
			Meta: Meta{Identifiers: dcm.Identifiers{StudyInstanceUID: m.StudyInstanceUID, SeriesInstanceUID: m.SeriesInstanceUID,
				SOPClassUID: m.SOPClassUID, SOPInstanceUID: m.SOPInstanceUID, Modality: m.Modality},
				TransferSyntaxUID: m.TransferSyntaxUID, CallingAE: m.CallingAE, Received: m.Received},
			Size: int64(h.payload), SHA256: hex.EncodeToString(sum[:]), Conflict: m.Conflict, at: location{n, at}})
	case tombstoneRecord:
		var m tombstoneMeta
		if err := json.Unmarshal(meta, &m); err != nil {
			return err
		}
		r.spool.tombs = append(r.spool.tombs, tombstone{segment: n, removed: m.Removed})
	default:
		return fmt.Errorf("record of kind %d, from a newer version", h.kind)
	}
	return nil
}
