package scp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/scptest"
	"ichor/scp/spool"
)

// siege reports whether ICHOR_SIEGE asks for the full campaign: 1,000 idle and dripping associations, 10,000 refused
// ones, 200 senders and an object of 2 GiB. Without it the same is done in small.
func siege() bool { return os.Getenv("ICHOR_SIEGE") != "" }

func size(small, full int) int {
	if siege() {
		return full
	}
	return small
}

func quantile(took []time.Duration, q float64) time.Duration {
	took = slices.Sorted(slices.Values(took))
	return took[int(q*float64(len(took)-1))].Round(10 * time.Microsecond)
}

// TestSilentCrowd: a real sender among idle and dripping associations. The full campaign holds the judged line: they
// cost it no more than 50 ms an object.
func TestSilentCrowd(t *testing.T) {
	crowd := size(200, 1000)
	a := serve(t, Options{MaxAssociations: crowd + 1}, spool.Options{})
	objects := size(10, 100)
	ts := dcm.ExplicitVRLittleEndian
	send := func(round int) (took []time.Duration) {
		s := connect(t, options(a))
		for i := range objects {
			uid := fmt.Sprintf("1.2.%d.%d", round, i)
			d := ct(t, uid, 500_000, ts)
			begin := time.Now()
			if _, err := s.Store(t.Context(), request(uid, d, ts)); err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(begin))
		}
		if err := s.Release(t.Context()); err != nil {
			t.Error(err)
		}
		return took
	}
	send(0) // warm
	alone := send(1)
	var dripping []net.Conn
	for i := range crowd {
		p := scptest.Dial(t, a.address)
		switch i % 4 {
		case 0, 1: // idle
			p.Associate()
		case 2: // in the middle of a command set
			p.Associate()
			dripping = append(dripping, p.Conn)
		case 3: // in the middle of the request; up to maxWaiting of them are kept
			p.Send(scptest.AssociateRQ[:40])
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		drip := scptest.Data(1, 1, []byte{0})
		for at := 0; ; at++ {
			for _, c := range dripping {
				_, _ = c.Write(drip[at%len(drip):][:1]) // one that the node has closed is of no account
			}
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	among := send(2)
	close(stop)
	<-stopped
	t.Logf("%d objects alone: median %v, p99 %v; among %d idle and dripping associations: median %v, p99 %v",
		objects, quantile(alone, 0.5), quantile(alone, 0.99), crowd, quantile(among, 0.5), quantile(among, 0.99))
	if n := a.server.Associations(); n != crowd*3/4 && n != crowd*3/4+1 {
		t.Errorf("%d associations, want %d", n, crowd*3/4)
	}
	if more := quantile(among, 0.5) - quantile(alone, 0.5); siege() && more > 50*time.Millisecond {
		t.Errorf("%v more an object", more)
	}
}

// TestRefusedAssociations: nothing is left of those that were refused: no goroutine, no descriptor, no memory.
func TestRefusedAssociations(t *testing.T) {
	n := size(500, 10_000)
	a := serve(t, Options{}, spool.Options{})
	stranger := bytes.Replace(scptest.AssociateRQ, []byte("SCANNER"), []byte("NOBODY "), 1)
	call := func(i int) {
		conn, err := net.Dial("tcp", a.address)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		switch i % 4 {
		case 0: // rejected, and closes as it should
			_, _ = conn.Write(stranger)
			_, _ = io.ReadFull(conn, make([]byte, 10))
		case 1: // rejected, and is gone before it hears of it
			_, _ = conn.Write(stranger)
			_ = conn.(*net.TCPConn).SetLinger(0) // a reset
		case 2: // speaks something else
			_, _ = conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
			_, _ = io.ReadFull(conn, make([]byte, 10))
		case 3: // half a request
			_, _ = conn.Write(stranger[:100])
		}
	}
	flood := func(n int) {
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := w; i < n; i += 8 {
					call(i)
				}
			})
		}
		wg.Wait()
	}
	flood(100) // whatever is made once is made now
	before := settle(t, a, nil)
	flood(n)
	after := settle(t, a, &before)
	t.Logf("%d refused: %d to %d goroutines, %d to %d descriptors, %d to %d KiB of heap",
		n, before.goroutines, after.goroutines, before.descriptors, after.descriptors, before.heap>>10, after.heap>>10)
	if after.goroutines > before.goroutines || after.descriptors > before.descriptors {
		t.Errorf("left behind: %+v, before %+v", after, before)
	}
	// Events and log lines are kept by the test itself.
	if grew := int64(after.heap) - int64(before.heap); grew > int64(n)*1024+1<<20 {
		t.Errorf("heap grew by %d bytes", grew)
	}
}

// residue is what a leak would show in.
type residue struct {
	goroutines, descriptors int
	heap                    uint64
}

// settle waits until the server has no connection, and no more than goal, if given, is open.
func settle(t *testing.T, a *appliance, goal *residue) (r residue) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		a.server.mu.Lock()
		left := len(a.server.sessions)
		a.server.mu.Unlock()
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		r.goroutines, r.descriptors = runtime.NumGoroutine(), len(fds)
		if left == 0 && (goal == nil || r.goroutines <= goal.goroutines && r.descriptors <= goal.descriptors) || time.Now().After(deadline) {
			break
		}
	}
	var m runtime.MemStats
	debug.FreeOSMemory()
	runtime.ReadMemStats(&m)
	r.heap = m.HeapAlloc
	return r
}

// TestCrowdOfSenders: memory while 200 associations store at once, and one of them an object of 2 GiB. The server is a
// process of its own, so that what is measured is the server.
func TestCrowdOfSenders(t *testing.T) {
	if dir := os.Getenv("ICHOR_TEST_SERVE"); dir != "" {
		serveAlone(t, dir)
		return
	}
	// On disk: a folder in memory would count.
	dir, err := os.MkdirTemp(os.Getenv("ICHOR_TEST_DIR"), "ichor-siege-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrowdOfSenders$")
	cmd.Env = append(os.Environ(), "ICHOR_TEST_SERVE="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	lines.Scan()
	a := &appliance{address: lines.Text()}
	senders, objects := size(20, 200), size(1, 5)
	ts := dcm.ExplicitVRLittleEndian
	var wg sync.WaitGroup
	scus := make([]*dimse.SCU, senders) // all are there before the first sends
	for i := range scus {
		scus[i] = connect(t, options(a))
	}
	begin := time.Now()
	for i, s := range scus {
		wg.Go(func() {
			for j := range objects {
				uid := fmt.Sprintf("1.2.%d.%d", i, j)
				if _, err := s.Store(t.Context(), request(uid, ct(t, uid, 500_000, ts), ts)); err != nil {
					t.Errorf("%s: %v", uid, err)
				}
			}
			if i == 0 {
				if _, err := s.Store(t.Context(), huge(t, "1.2.999", int64(size(16, 2047))<<20)); err != nil {
					t.Errorf("huge object: %v", err)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	for _, s := range scus {
		if err := s.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
	stdin.Close()
	lines.Scan()
	t.Logf("%d associations, %d objects of 0.5 MB each, one of %d MiB, %v: peak of resident memory %s",
		senders, objects, size(16, 2047), took.Round(time.Millisecond), lines.Text())
	var peak int
	if _, err := fmt.Sscanf(lines.Text(), "%d kB", &peak); err != nil {
		t.Fatal(err)
	}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		peak = 0 // the detector has several times the memory
	}
	if peak > 128<<10 {
		t.Errorf("%d kB", peak)
	}
	_, _ = io.Copy(io.Discard, stdout)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// serveAlone is the server of TestCrowdOfSenders: it prints its address, serves until its input ends, and prints the
// peak of its resident memory.
func serveAlone(t *testing.T, dir string) {
	a := serve(t, Options{MaxAssociations: 256, DrainTimeout: 5 * time.Second}, spool.Options{Dir: filepath.Join(dir, "spool")})
	fmt.Println(a.address)
	_, _ = io.Copy(io.Discard, os.Stdin)
	a.stop()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	peak, _, _ = strings.Cut(peak, "\n")
	fmt.Println(strings.TrimSpace(peak))
}

// huge is a request for an object of n bytes that exist nowhere.
func huge(t *testing.T, uid string, n int64) dimse.StoreRequest {
	ts := dcm.ExplicitVRLittleEndian
	head := ct(t, uid, 0, ts)
	head = append(head[:len(head)-4], byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	r := request(uid, nil, ts)
	r.Data = io.MultiReader(bytes.NewReader(head), io.LimitReader(zeros{}, n))
	return r
}

// TestAbortInEveryPhase: peers that abort or vanish at every byte of an association leave nothing behind either.
func TestAbortInEveryPhase(t *testing.T) {
	a := serve(t, Options{}, spool.Options{})
	whole := bytes.Join([][]byte{scptest.EchoRQ, scptest.StoreRQ, scptest.ReleaseRQ}, nil)
	settle(t, a, nil)
	before := settle(t, a, nil)
	for at := 0; at < len(whole); at += 13 {
		for _, last := range [][]byte{scptest.Abort, nil} {
			conn, err := net.Dial("tcp", a.address)
			if err != nil {
				t.Fatal(err)
			}
			_, err = conn.Write(bytes.Join([][]byte{scptest.AssociateRQ, whole[:at], last}, nil))
			if err := errors.Join(err, conn.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	before.descriptors += restingSegments
	if after := settle(t, a, &before); after.goroutines > before.goroutines || after.descriptors > before.descriptors {
		t.Errorf("left behind: %+v, before %+v", after, before)
	}
}

// restingSegments is how many segment files the spool keeps open for the next associations, if so many stored at once.
const restingSegments = 8
