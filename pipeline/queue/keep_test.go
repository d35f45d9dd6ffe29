package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// smallDisk mounts a file system of 8 MiB and returns what fills it and makes room again.
func smallDisk(t *testing.T) (dir string, fill, free func()) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("a file system of its own needs root: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	fill = func() {
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	return dir, fill, func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDiskPasses: after a write that failed for want of space the queue stores again once there is room, without a
// restart; until then Ready says so. The server alone would refuse every job for good.
func TestFullDiskPasses(t *testing.T) {
	t.Parallel()
	dir, fill, free := smallDisk(t)
	var mu sync.Mutex
	waiting := []int{0}
	q := start(t, Options{Dir: dir + "/queue", Queued: func() ([]Job, error) {
		mu.Lock()
		defer mu.Unlock()
		return queued(waiting...)()
	}})
	var done atomic.Int32
	work(t, q, 1, func(context.Context, Job) error {
		mu.Lock()
		defer mu.Unlock()
		waiting = nil
		done.Add(1)
		return nil
	})
	eventually(t, "works", func() bool { return done.Load() == 1 })
	if err := q.Ready(); err != nil {
		t.Error(err)
	}
	fill()
	eventually(t, "refused", func() bool { return q.Submit(t.Context(), job(1)) != nil })
	eventually(t, "not ready", func() bool { err := q.Ready(); return err != nil && strings.Contains(err.Error(), "nothing is lost") })
	free()
	eventually(t, "takes jobs again", func() bool { return q.Submit(t.Context(), job(1)) == nil })
	eventually(t, "ready again", func() bool { return q.Ready() == nil && done.Load() == 2 })
}

// TestStartOnFullDisk: a node starts on a full disk, with a queue or without, and works once there is room.
func TestStartOnFullDisk(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"new", "with a job"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, fill, free := smallDisk(t)
			if name != "new" {
				q := start(t, Options{Dir: dir + "/queue"})
				submit(t, q, job(1))
				q.Close()
			}
			fill()
			q := start(t, Options{Dir: dir + "/queue", Queued: queued(1)})
			if err := q.Ready(); name == "new" && !errors.Is(err, syscall.ENOSPC) { // old files give up their room
				t.Errorf("ready: %v", err)
			}
			var done atomic.Int32
			work(t, q, 1, func(context.Context, Job) error { done.Add(1); return nil })
			free()
			eventually(t, "done", func() bool { return done.Load() > 0 && q.Ready() == nil })
		})
	}
}

// TestDamagedQueue rots the files of a queue, whose server spins for ever over some of these: it starts all the same, and
// has every job that state calls queued, once.
func TestDamagedQueue(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "queue")
	q := start(t, Options{Dir: dir, Queued: queued(0, 1, 2)})
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		q.Close()
		files := 0
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files++
			raw, err := os.ReadFile(path)
			for range len(raw) / 20 {
				raw[rng.IntN(len(raw))] ^= byte(1 + rng.IntN(255))
			}
			return errors.Join(err, os.WriteFile(path, raw[:len(raw)-rng.IntN(len(raw)+1)/2], 0o600))
		})
		if err != nil || files < 5 {
			t.Fatalf("%d files, %v", files, err)
		}
		q = start(t, Options{Dir: dir, Queued: queued(0, 1, 2)})
		submit(t, q, job(1)) // it is there
		eventually(t, "three jobs", func() bool { return stats(t, q) == Stats{Waiting: 3} })
	}
}

// TestFormat1 opens what a version without nodes left: jobs that name none, and a stream of dead ones.
func TestFormat1(t *testing.T) {
	t.Parallel()
	url := external(t)
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	jobs, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: jobsStream, Subjects: []string{"ichor.jobs.>"}, Retention: jetstream.WorkQueuePolicy, Duplicates: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jobs.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: consumer1, AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: deadStream1, Subjects: []string{"ichor.dead.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "ichor.jobs."+job(1).id(), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		raw, err := json.Marshal(map[string]any{"id": job(n).id(), "job": job(n), "reason": fmt.Sprint("boom ", n), "tries": 3})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(ctx, "ichor.dead."+job(n).id(), raw); err != nil {
			t.Fatal(err)
		}
	}
	told := map[string]int{}
	own := func(mine func(Job) bool) func(context.Context, Job, string) (bool, error) {
		return func(_ context.Context, j Job, reason string) (bool, error) {
			if mine(j) {
				told[j.StudyInstanceUID+" "+reason]++
			}
			return mine(j), nil
		}
	}
	q := start(t, Options{URL: url, Node: "n1", GivenUp: own(func(j Job) bool { return j != job(2) })})
	if len(told) != 2 || told["1.2.3.0 boom 0"] != 1 || told["1.2.3.1 boom 1"] != 1 {
		t.Errorf("told %v", told)
	}
	if dead, err := js.Stream(ctx, deadStream1); err != nil || dead.CachedInfo().State.Msgs != 1 {
		t.Errorf("what is another node's is gone: %v", err)
	}
	submit(t, q, job(1))
	if s := stats(t, q); s != (Stats{Waiting: 1}) {
		t.Errorf("%+v", s)
	}
}

// TestNewerStreamIsLeftAlone: a stream of a later format is refused and not changed.
func TestNewerStreamIsLeftAlone(t *testing.T) {
	t.Parallel()
	url := external(t)
	q := start(t, Options{URL: url})
	submit(t, q, job(1))
	js := q.link.Load().js
	c := q.link.Load().jobs.CachedInfo().Config
	c.Metadata = map[string]string{formatKey: "3"}
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if q, err := Start(t.Context(), Options{URL: url, Node: "n2"}); !errors.Is(err, ErrVersion) {
		t.Errorf("%v, %v", q, err)
	}
	if s, err := js.Stream(t.Context(), jobsStream); err != nil || s.CachedInfo().State.Consumers != 2 || s.CachedInfo().State.Msgs != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}
