package spool

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"ichor/scp/dcm"
)

// The spool beside what the disk gives: append and fdatasync of the same bytes, on one and on eight files at once.
func BenchmarkCommit(b *testing.B) {
	data := object(b, "1.9", "1.2.1000000000", 512*512*2)
	for _, sessions := range []int{1, 8} {
		b.Run(fmt.Sprintf("plain/%d", sessions), func(b *testing.B) {
			dir := b.TempDir()
			b.SetBytes(int64(len(data)))
			spread(b, sessions, func(n int, next func() (int, bool)) {
				f, err := os.Create(filepath.Join(dir, fmt.Sprint(n)))
				if err != nil {
					b.Error(err)
					return
				}
				defer f.Close()
				for _, ok := next(); ok; _, ok = next() {
					if _, err := f.Write(data); err != nil {
						b.Error(err)
					}
					if err := unix.Fdatasync(int(f.Fd())); err != nil {
						b.Error(err)
					}
				}
			})
		})
		for _, ahead := range []int{0, 8} {
			b.Run(fmt.Sprintf("spool/%d/ahead=%d", sessions, ahead), func(b *testing.B) { commit(b, data, sessions, ahead) })
		}
	}
}

// commit stores objects over so many sessions at once, with so many segments written ahead.
func commit(b *testing.B, data []byte, sessions, ahead int) {
	s, err := Open(context.Background(), Options{Dir: b.TempDir(), ReserveBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for range ahead {
		if err := s.prepare(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(data)))
	spread(b, sessions, func(_ int, next func() (int, bool)) {
		sess := s.Intake()
		defer sess.Close()
		own := bytes.Clone(data)
		for i, ok := next(); ok; i, ok = next() {
			id := fmt.Sprintf("1.2.%010d", 1_000_000_000+i)
			copy(own[bytes.Index(own, []byte("1.2.1")):], id)
			w, err := sess.Create(dcm.CTImageStorage, id, dcm.ExplicitVRLittleEndian, "CT1")
			if err != nil {
				b.Error(err)
				return
			}
			for rest := own; len(rest) > 0 && err == nil; { // in pieces as they come from the network
				n := min(len(rest), 16<<10)
				_, err = w.Write(rest[:n])
				rest = rest[n:]
			}
			if err == nil {
				_, _, err = w.Commit()
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// spread runs b.N rounds on n goroutines.
func spread(b *testing.B, n int, work func(n int, next func() (int, bool))) {
	var count atomic.Int64
	next := func() (int, bool) {
		i := count.Add(1)
		return int(i), i <= int64(b.N)
	}
	var wg sync.WaitGroup
	b.ResetTimer()
	for k := range n {
		wg.Go(func() { work(k, next) })
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "objects/s")
}

// BenchmarkOpen starts on a spool of 50,000 objects: what is read are the seals, without
// the payloads, which a start does not read.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "segments"), 0o700); err != nil {
		b.Fatal(err)
	}
	s := &Spool{disk: realDisk()}
	const studies, each = 100, 500
	for n := range uint64(studies) {
		var nonce [16]byte
		nonce[0], nonce[1] = byte(n), byte(n>>8)
		study := dcm.RandomUID()
		objects := make([]Object, each)
		for i := range objects {
			m := Meta{TransferSyntaxUID: dcm.ExplicitVRLittleEndian, CallingAE: "CT1", Identifiers: dcm.Identifiers{Modality: "CT",
				StudyInstanceUID: study, SeriesInstanceUID: study + ".1", SOPClassUID: dcm.CTImageStorage, SOPInstanceUID: dcm.RandomUID()}}
			objects[i] = Object{Meta: m, Size: 500_000, SHA256: fmt.Sprintf("%064x", i), at: location{n + 1, int64(i) * 500_000}}
		}
		f, err := os.Create(filepath.Join(dir, "segments", segmentName(n+1)))
		if err != nil {
			b.Fatal(err)
		}
		if err := s.disk.write(f, encodeSegmentHeader(nonce), 0); err != nil {
			b.Fatal(err)
		}
		s.writeSeal(f, nonce, each*600_000, objects, nil)
		f.Close()
	}
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s, err := Open(context.Background(), Options{Dir: dir, ReserveBytes: -1})
		if err != nil || len(s.Studies()) != studies {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(studies*each), "B/object")
		s.Close()
	}
}
