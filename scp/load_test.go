package scp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/scptest"
	"ichor/scp/spool"
)

// TestParallel: several associations at once, each with objects of its own and one that all send.
func TestParallel(t *testing.T) {
	a := serve(t, Options{DrainTimeout: 5 * time.Second}, spool.Options{})
	ts := dcm.ExplicitVRLittleEndian
	var wg sync.WaitGroup
	for i := range 8 {
		s := connect(t, options(a))
		wg.Go(func() {
			for j := range 10 {
				uid := fmt.Sprintf("1.2.%d.%d", i, j)
				if j == 0 {
					uid = "1.2.99"
				}
				if _, err := s.Store(context.Background(), request(uid, ct(t, uid, 50_000, ts), ts)); err != nil {
					t.Errorf("%s: %v", uid, err)
					return
				}
			}
			if err := s.Release(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	a.stop()
	if n := len(a.spool.Study("1.2.826.0.99.1")); n != 73 || a.sink.fresh != 73 || len(a.sink.objects) != 80 {
		t.Errorf("%d objects in the spool, sink told of %d, %d fresh", n, len(a.sink.objects), a.sink.fresh)
	}
}

// TestStreams: an object of 64 MiB goes through without being held.
func TestStreams(t *testing.T) {
	a := serve(t, Options{}, spool.Options{})
	s := connect(t, options(a))
	ts := dcm.ExplicitVRLittleEndian
	const size = 64 << 20
	// The pixel data is the last element; its length is put right and its value comes from nowhere.
	head := ct(t, "1.2.3", 0, ts)
	head = append(head[:len(head)-4], 0, 0, 0, 4) // 64 MiB, little endian
	r := request("1.2.3", nil, ts)
	r.Data = io.MultiReader(bytes.NewReader(head), io.LimitReader(zeros{}, size))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := s.Store(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if grew := after.TotalAlloc - before.TotalAlloc; grew > size/4 {
		t.Errorf("%d MiB allocated for an object of 64 MiB", grew>>20)
	}
	if o := a.spool.Study("1.2.826.0.99.1"); len(o) != 1 || o[0].Size < size {
		t.Errorf("%+v", o)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestDrain(t *testing.T) {
	a := serve(t, Options{DrainTimeout: 5 * time.Second}, spool.Options{})
	busy := connect(t, options(a))
	ts := dcm.ExplicitVRLittleEndian
	// A data set that is still on its way when the server begins to drain.
	data := &slowReader{b: ct(t, "1.2.3", 500_000, ts), begun: make(chan struct{}), wait: make(chan struct{})}
	r := request("1.2.3", nil, ts)
	r.Data = data
	result := make(chan error, 1)
	go func() {
		_, err := busy.Store(context.Background(), r)
		result <- errors.Join(err, busy.Release(context.Background()))
	}()
	<-data.begun
	go a.stop()
	time.Sleep(20 * time.Millisecond)
	if _, err := dimse.Connect(t.Context(), options(a)); err == nil {
		t.Error("accepted while draining")
	}
	close(data.wait)
	if err := <-result; err != nil {
		t.Errorf("an association in work was not let finish: %v", err)
	}
	a.stop()
}

type slowReader struct {
	b           []byte
	begun, wait chan struct{}
	once        sync.Once
}

func (r *slowReader) Read(p []byte) (int, error) {
	if len(r.b) < 300_000 {
		r.once.Do(func() { close(r.begun); <-r.wait })
	}
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}

func TestDrainAborts(t *testing.T) {
	a := serve(t, Options{}, spool.Options{})
	p := scptest.Dial(t, a.address)
	p.Associate()
	go a.stop()
	if b := p.Expect(7); b[8] != 0 {
		t.Errorf("% X", b)
	}
	p.Conn.Close()
	a.stop()
}
