package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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
	q := start(t, Options{Dir: dir + "/queue"})
	var done atomic.Int32
	work(t, q, 1, func(context.Context, Job) error { done.Add(1); return nil })
	submit(t, q, job(0))
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
			q := start(t, Options{Dir: dir + "/queue"})
			if err := q.Ready(); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("ready: %v", err)
			}
			var done atomic.Int32
			work(t, q, 1, func(context.Context, Job) error { done.Add(1); return nil })
			free()
			eventually(t, "takes jobs", func() bool { return q.Submit(t.Context(), job(1)) == nil })
			eventually(t, "done", func() bool { return done.Load() > 0 && q.Ready() == nil })
		})
	}
}

// TestDamagedQueue rots and cuts the files of a queue: it starts all the same, what is lost can be submitted again, and
// what was set aside is told with its path.
func TestDamagedQueue(t *testing.T) {
	t.Parallel()
	good := filepath.Join(t.TempDir(), "queue")
	q := start(t, Options{Dir: good})
	for n := range 3 {
		submit(t, q, job(n))
	}
	q.Close()
	var files []string
	filepath.WalkDir(good, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if len(files) < 5 {
		t.Fatalf("files of a queue: %q", files)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	harm := func(how string, b []byte) []byte {
		if how == "cut" {
			return b[:len(b)/2]
		}
		for range 1 + len(b)/20 {
			b[rng.IntN(len(b))] ^= byte(1 + rng.IntN(255))
		}
		return b
	}
	aside := 0
	for i, victim := range files {
		for _, name := range []string{"rot", "cut"} {
			rel := strings.TrimPrefix(victim, good)
			dir := filepath.Join(t.TempDir(), fmt.Sprint(i, name))
			if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(dir + rel)
			if err != nil || len(raw) == 0 {
				continue
			}
			if err := os.WriteFile(dir+rel, harm(name, raw), 0o600); err != nil {
				t.Fatal(err)
			}
			var log lockedBuffer
			q, err := Start(t.Context(), Options{Dir: dir, Node: "n1", Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
			if err != nil {
				t.Errorf("%s of %s: %v", name, rel, err)
				continue
			}
			if _, err := os.Stat(dir + ".damaged"); err == nil {
				aside++
				if text := log.String(); strings.Count(text, "made anew") != 1 || !strings.Contains(text, dir+".damaged") {
					t.Errorf("%s of %s: %s", name, rel, text)
				}
			}
			for n := range 3 {
				submit(t, q, job(n))
			}
			got := map[string]bool{}
			var mu sync.Mutex
			stop := work(t, q, 1, func(_ context.Context, j Job) error {
				mu.Lock()
				defer mu.Unlock()
				got[j.StudyInstanceUID] = true
				return nil
			})
			eventually(t, name+" of "+rel+": all done", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 3 })
			stop()
			q.Close()
		}
	}
	if aside == 0 {
		t.Error("no damage was such that the queue had to be made anew")
	}
}

// TestRottenJob flips one byte of a job that waits: submitted again, as after each start, it is done.
func TestRottenJob(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/queue"
	q := start(t, Options{Dir: dir})
	for n := range 3 {
		submit(t, q, job(n))
	}
	q.Close()
	blocks, err := filepath.Glob(dir + "/jetstream/*/streams/*/msgs/*.blk")
	if err != nil || len(blocks) != 1 {
		t.Fatalf("%q, %v", blocks, err)
	}
	raw, err := os.ReadFile(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(raw, []byte(job(1).StudyInstanceUID+`"`))
	raw[at] ^= 1
	if err := os.WriteFile(blocks[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	q = start(t, Options{Dir: dir})
	for n := range 3 {
		submit(t, q, job(n))
	}
	done := make(chan Job, 9)
	work(t, q, 1, func(_ context.Context, j Job) error { done <- j; return nil })
	got := map[Job]bool{}
	for range 3 {
		select {
		case j := <-done:
			got[j] = true
		case <-time.After(10 * time.Second):
		}
	}
	if len(got) != 3 || !got[job(1)] {
		t.Errorf("done: %v", got)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
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
	dir := t.TempDir() + "/queue"
	q := start(t, Options{Dir: dir})
	submit(t, q, job(1))
	c := q.link.Load().jobs.CachedInfo().Config
	c.Metadata = map[string]string{formatKey: "3"}
	if _, err := q.link.Load().js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	q.Close()
	if q, err := Start(t.Context(), Options{Dir: dir, Node: "n1"}); !errors.Is(err, ErrVersion) {
		t.Errorf("%v, %v", q, err)
	}
	if _, err := os.Stat(dir + ".damaged"); err == nil {
		t.Error("set aside as if it were damaged")
	}
}
