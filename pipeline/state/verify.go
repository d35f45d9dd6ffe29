package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"syscall"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"
)

// bbolt maps the file into memory and trusts the lengths and page numbers in it, so a damaged page can end the process. The
// structure of the file is therefore verified before bbolt opens it: each page of the newest transaction is within the file,
// has the type that its parent says, is used once, and its elements are within it and in order. The contents of values are
// checked where they are read.
//
// bbolt's own Check does the same, but in its own goroutine, where a fault ends the process. It would need a child process at
// each start, because a disk can also corrupt the file after a clean stop. The layout is file format 2, which every bbolt has
// written; other formats are rejected. Verification takes 2 ms per MiB.
//
// Layout (little endian): pages 0 and 1 are meta pages; a page starts with id u64, flags u16, count u16, overflow u32.

const (
	pageHeader  = 16
	branchFlag  = 0x01
	leafFlag    = 0x02
	freeFlag    = 0x10
	element     = 16 // of a branch page (pos, ksize u32, page u64) or a leaf page (flags, pos, ksize, vsize u32)
	bucketFlag  = 0x01
	bucketBytes = 16 // root page u64, sequence u64, then the page itself if the root is 0
	maxTree     = 64 // maximum depth; even with two keys per page no tree is deeper
	boltMagic   = 0xED0CDAED
	boltVersion = 2
	metaSum     = 56 // bytes of a meta page that its checksum covers
	lockPoll    = 50 * time.Millisecond
)

var errStructure = errors.New("structure")

// openVerified opens the file for bbolt: it waits for the lock, so that no other process is writing, and verifies the
// structure.
func openVerified(path string, flag int, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag, mode)
	if err != nil {
		return nil, err
	}
	for begin := time.Now(); ; time.Sleep(lockPoll) {
		// The lock belongs to the open file, so bbolt can take it again.
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Since(begin) > lockTimeout {
			f.Close()
			return nil, bolterrors.ErrTimeout
		}
	}
	info, err := f.Stat()
	if err == nil {
		if at, err := os.Stat(path); err != nil || !os.SameFile(info, at) { // it was replaced by a compacted file while we waited
			f.Close()
			return openVerified(path, flag, mode)
		}
		if info.Size() > 0 {
			err = verify(f, info.Size())
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

type verifier struct {
	r        io.ReaderAt
	pageSize int64
	pages    uint64 // in use by the newest transaction, meta pages included
	used     []bool
}

// verify checks a file of size bytes.
func verify(r io.ReaderAt, size int64) error {
	var best []byte
	var v verifier
	for _, pageSize := range []int64{int64(os.Getpagesize()), 4096, 8192, 16384, 65536} { // the second meta page is at offset pageSize
		for _, at := range []int64{0, pageSize} {
			meta := make([]byte, metaSum+8)
			switch _, err := r.ReadAt(meta, at+pageHeader); {
			case errors.Is(err, io.EOF):
				continue
			case err != nil: // disk error: the contents are unknown
				return err
			}
			if binary.LittleEndian.Uint32(meta) != boltMagic || !bytes.Equal(meta[metaSum:], sum64(meta[:metaSum])) {
				continue
			}
			if best == nil || binary.LittleEndian.Uint64(meta[48:]) > binary.LittleEndian.Uint64(best[48:]) {
				best = meta
			}
		}
	}
	if best == nil {
		return bolterrors.ErrInvalid
	}
	if binary.LittleEndian.Uint32(best[4:]) != boltVersion {
		return bolterrors.ErrVersionMismatch
	}
	v.r, v.pageSize = r, int64(binary.LittleEndian.Uint32(best[8:]))
	root, freelist := binary.LittleEndian.Uint64(best[16:]), binary.LittleEndian.Uint64(best[32:])
	v.pages = binary.LittleEndian.Uint64(best[40:])
	if v.pageSize < 1024 || v.pageSize > 65536 || v.pages < 4 || v.pages > uint64(size/v.pageSize) {
		return fmt.Errorf("%d bytes, %d pages of %d bytes were written: %w", size, v.pages, v.pageSize, errStructure)
	}
	v.used = make([]bool, v.pages)
	v.used[0], v.used[1] = true, true
	if err := v.tree(root, 0); err != nil {
		return err
	}
	return v.freelist(freelist)
}

// sum64 returns the checksum of a meta page as stored.
func sum64(meta []byte) []byte {
	sum := fnv.New64a()
	sum.Write(meta)
	return binary.LittleEndian.AppendUint64(nil, sum.Sum64())
}

// page reads page id with its overflow pages and marks them as used.
func (v *verifier) page(id uint64) ([]byte, error) {
	if id < 2 || id >= v.pages {
		return nil, fmt.Errorf("page %d of %d: %w", id, v.pages, errStructure)
	}
	head := make([]byte, pageHeader)
	if err := v.read(head, id); err != nil {
		return nil, err
	}
	span := uint64(binary.LittleEndian.Uint32(head[12:])) + 1
	if binary.LittleEndian.Uint64(head) != id || span > v.pages-id {
		return nil, fmt.Errorf("page %d says it is %d, %d pages long: %w", id, binary.LittleEndian.Uint64(head), span, errStructure)
	}
	for n := id; n < id+span; n++ {
		if v.used[n] {
			return nil, fmt.Errorf("page %d is used twice: %w", n, errStructure)
		}
		v.used[n] = true
	}
	p := make([]byte, int64(span)*v.pageSize)
	return p, v.read(p, id)
}

// read fills p from page id on. A disk error is not reported as a structure error.
func (v *verifier) read(p []byte, id uint64) error {
	_, err := v.r.ReadAt(p, int64(id)*v.pageSize)
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("page %d extends beyond the file: %w", id, errStructure)
	case err != nil:
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// tree checks a page and all pages below it.
func (v *verifier) tree(id uint64, depth int) error {
	p, err := v.page(id)
	if err != nil {
		return err
	}
	if err := v.elements(p, depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// elements checks the elements of a branch or leaf page, which can be within a value (an inline bucket).
func (v *verifier) elements(p []byte, depth int) error {
	if len(p) < pageHeader || depth > maxTree {
		return fmt.Errorf("%d bytes at depth %d: %w", len(p), depth, errStructure)
	}
	flags, count := binary.LittleEndian.Uint16(p[8:]), int(binary.LittleEndian.Uint16(p[10:]))
	if flags != leafFlag && flags != branchFlag || flags == branchFlag && count == 0 || pageHeader+count*element > len(p) {
		return fmt.Errorf("flags %x with %d elements in %d bytes: %w", flags, count, len(p), errStructure)
	}
	var last []byte
	for i := range count {
		at := pageHeader + i*element
		e := p[at : at+element]
		pos, ksize, vsize := binary.LittleEndian.Uint32(e), binary.LittleEndian.Uint32(e[4:]), uint32(0)
		if flags == leafFlag {
			pos, ksize, vsize = binary.LittleEndian.Uint32(e[4:]), binary.LittleEndian.Uint32(e[8:]), binary.LittleEndian.Uint32(e[12:])
		}
		begin := uint64(at) + uint64(pos)
		if end := begin + uint64(ksize) + uint64(vsize); end > uint64(len(p)) || begin < uint64(pageHeader+count*element) {
			return fmt.Errorf("element %d at %d to %d of %d bytes: %w", i, begin, end, len(p), errStructure)
		}
		key, value := p[begin:begin+uint64(ksize)], p[begin+uint64(ksize):begin+uint64(ksize)+uint64(vsize)]
		if i > 0 && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("element %d out of order: %w", i, errStructure)
		}
		last = key
		var err error
		switch {
		case flags == branchFlag:
			err = v.tree(binary.LittleEndian.Uint64(e[8:]), depth+1)
		case binary.LittleEndian.Uint32(e) == bucketFlag:
			err = v.bucket(value, depth+1)
		case binary.LittleEndian.Uint32(e) != 0:
			err = fmt.Errorf("element %d with flags %x: %w", i, binary.LittleEndian.Uint32(e), errStructure)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) bucket(value []byte, depth int) error {
	if len(value) < bucketBytes {
		return fmt.Errorf("bucket of %d bytes: %w", len(value), errStructure)
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return v.tree(root, depth)
	}
	return v.elements(value[bucketBytes:], depth)
}

// freelist checks that free pages are in order and not in use.
func (v *verifier) freelist(id uint64) error {
	p, err := v.page(id)
	if err != nil {
		return fmt.Errorf("free list: %w", err)
	}
	count, at := uint64(binary.LittleEndian.Uint16(p[10:])), uint64(pageHeader)
	if count == 0xFFFF { // too many for the header: the count is the first element
		count, at = binary.LittleEndian.Uint64(p[at:]), at+8
	}
	if binary.LittleEndian.Uint16(p[8:]) != freeFlag || count > (uint64(len(p))-at)/8 {
		return fmt.Errorf("free list of %d pages in %d bytes: %w", count, len(p), errStructure)
	}
	for i := range count {
		free := binary.LittleEndian.Uint64(p[at+8*i:])
		if free >= v.pages || v.used[free] {
			return fmt.Errorf("free page %d of %d is in use: %w", free, v.pages, errStructure)
		}
		v.used[free] = true
	}
	return nil
}
