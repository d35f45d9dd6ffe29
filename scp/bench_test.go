package scp

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ichor/scp/dcm"
	"ichor/scp/spool"
)

// BenchmarkOneAssociation: objects of half a megabyte, one after the other on one association from a sender that takes
// no time to find them, beside append and fdatasync of the same bytes to a file. The two take turns, for the speed of
// a disk swings: what counts is the ratio, which is the median of the turns.
func BenchmarkOneAssociation(b *testing.B) {
	const turn = 32
	dir := b.TempDir()
	a := serve(b, Options{}, spool.Options{Dir: filepath.Join(dir, "spool")})
	prepare(b, a.spool, filepath.Join(dir, "spool"), int(512<<20/(64<<20)))
	s := connect(b, options(a))
	const first = "1.2.1000000000"
	data := ct(b, first, 512*512*2, dcm.ExplicitVRLittleEndian)
	at := bytes.Index(data, []byte(first))
	f, err := os.Create(filepath.Join(dir, "append"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var ratios, rates, took []float64
	b.SetBytes(turn * int64(len(data)))
	for n := 0; b.Loop(); n++ {
		start := time.Now()
		for range turn {
			if _, err := f.Write(data); err != nil {
				b.Fatal(err)
			}
			if err := unix.Fdatasync(int(f.Fd())); err != nil {
				b.Fatal(err)
			}
		}
		disk := time.Since(start)
		start = time.Now()
		for i := range turn {
			uid := fmt.Sprintf("1.2.%010d", 1_000_000_000+n*turn+i)
			copy(data[at:], uid)
			sent := time.Now()
			if _, err := s.Store(b.Context(), request(uid, data, dcm.ExplicitVRLittleEndian)); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(sent).Seconds()*1000)
		}
		node := time.Since(start)
		ratios, rates = append(ratios, disk.Seconds()/node.Seconds()), append(rates, turn/node.Seconds())
	}
	b.ReportMetric(middle(rates), "objects/s")
	b.ReportMetric(middle(ratios), "of-append+fdatasync")
	b.ReportMetric(middle(took), "ms-median")
	slices.Sort(took)
	b.ReportMetric(took[len(took)*99/100], "ms-p99")
}

// prepare lets the spool write ahead, as a node does that has nothing to receive, until it has n files.
func prepare(b *testing.B, s *spool.Spool, dir string, n int) {
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() { ended <- s.Prepare(ctx) }()
	for {
		spares, err := filepath.Glob(filepath.Join(dir, "segments", "spare-*[0-9]"))
		if err != nil {
			b.Fatal(err)
		}
		if len(spares) >= n {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

func middle(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
