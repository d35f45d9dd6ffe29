package queue

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"ichor/pipeline/state"
)

func start(t *testing.T, o Options) *Queue {
	t.Helper()
	if o.Dir == "" && o.URL == "" {
		o.Dir = t.TempDir()
	}
	if o.Node == "" {
		o.Node = "n1"
	}
	if o.Backoff == nil {
		o.Backoff = func(int) time.Duration { return 20 * time.Millisecond }
	}
	q, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func job(n int) Job {
	study := fmt.Sprintf("1.2.3.%d", n)
	return Job{Version: formatVersion, CaseID: state.IDOf(study), StudyInstanceUID: study, Revision: 1, Complete: "quiet 5s"}
}

// queued is what state calls queued.
func queued(list ...int) func() ([]Job, error) {
	return func() (jobs []Job, err error) {
		for _, n := range list {
			jobs = append(jobs, job(n))
		}
		return jobs, nil
	}
}

// work runs Work until the test calls the returned function.
func work(t *testing.T, q *Queue, workers int, handle func(context.Context, Job) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { q.Work(ctx, workers, handle); close(done) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func stats(t *testing.T, q *Queue) Stats {
	t.Helper()
	s, err := q.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func submit(t *testing.T, q *Queue, j Job) {
	t.Helper()
	if err := q.Submit(t.Context(), j); err != nil {
		t.Fatal(err)
	}
}

func TestJobsAreDoneOnce(t *testing.T) {
	q := start(t, Options{})
	for range 3 { // submitting again is without harm
		for n := range 10 {
			submit(t, q, job(n))
		}
	}
	if s := stats(t, q); s != (Stats{Waiting: 10}) {
		t.Fatalf("before: %+v", s)
	}
	var mu sync.Mutex
	got := map[string]int{}
	var now, most atomic.Int32
	stop := work(t, q, 3, func(_ context.Context, j Job) error {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		time.Sleep(10 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		if j.Complete != "quiet 5s" || j.CaseID != state.IDOf(j.StudyInstanceUID) {
			t.Errorf("job %+v", j)
		}
		got[j.StudyInstanceUID]++
		return nil
	})
	eventually(t, "all done", func() bool { return stats(t, q) == Stats{} })
	next := job(0)
	next.Revision = 2
	submit(t, q, next)
	submit(t, q, job(1)) // it is gone from the queue, so it is submitted because it must be done
	eventually(t, "next revision and what was submitted again done", func() bool { return stats(t, q) == Stats{} })
	stop()
	for n := range 10 {
		want := 1
		if n < 2 {
			want = 2
		}
		if study := job(n).StudyInstanceUID; got[study] != want {
			t.Errorf("%s done %d times, want %d", study, got[study], want)
		}
	}
	if most.Load() > 3 {
		t.Errorf("%d handlers at once, want at most 3", most.Load())
	}
}

func TestSubmitRefusesWhatIsNoJob(t *testing.T) {
	q := start(t, Options{})
	for _, j := range []Job{{}, {CaseID: "a"}, {CaseID: "a.b", Revision: 1}, {CaseID: "a>", Revision: 1}, {Revision: 1}} {
		if err := q.Submit(t.Context(), j); err == nil {
			t.Errorf("%+v accepted", j)
		}
	}
}

// TestErrors holds what becomes of a job by the errors of its handler: which count, and what is told of them.
func TestErrors(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	full := fmt.Errorf("result: %w", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
	for _, tt := range []struct {
		name   string
		errs   []error // of its handler, one after another, then nil
		told   string  // failures, then what was put off
		called int
	}{
		{"done", nil, "", 1},
		{"third try", []error{boom, boom}, "boom boom", 3},
		{"given up", []error{boom, boom, boom, boom, boom}, "boom boom boom", 3},
		{"panic", []error{errPanic}, "panic: at the disco", 2},
		{"later", []error{Later(boom, time.Millisecond), Later(boom, time.Millisecond), Later(boom, time.Millisecond), Later(boom, time.Millisecond)}, "", 5},
		{"not recorded", []error{errUnrecorded}, "not recorded", 2},
		{"disk full", []error{full}, "put off: result: write x: no space left on device", 2},
		{"read-only", []error{syscall.EROFS}, "put off: read-only file system", 2},
		{"quota", []error{syscall.EDQUOT}, "put off: disk quota exceeded", 2},
		{"unreadable", []error{syscall.EIO}, "put off: input/output error", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var told []string
			tell := func(s string) int {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, s)
				return len(told)
			}
			q := start(t, Options{
				Failed: func(_ context.Context, j Job, reason error) (int, bool, error) {
					tries := tell(reason.Error())
					if j != job(1) {
						t.Errorf("%+v", j)
					}
					if errors.Is(reason, errUnrecorded) {
						return 0, false, boom
					}
					return tries, tries < 3, nil
				},
				PutOff: func(_ context.Context, j Job, reason error) error { tell("put off: " + reason.Error()); return nil },
			})
			var called atomic.Int32
			work(t, q, 2, func(context.Context, Job) error {
				n := int(called.Add(1))
				if n > len(tt.errs) {
					return nil
				}
				if tt.errs[n-1] == errPanic {
					panic("at the disco")
				}
				return tt.errs[n-1]
			})
			submit(t, q, job(1))
			eventually(t, "settled", func() bool { return int(called.Load()) >= tt.called && stats(t, q) == Stats{} })
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Join(told, " "); got != tt.told || int(called.Load()) != tt.called {
				t.Errorf("told %q after %d calls, want %q after %d", got, called.Load(), tt.told, tt.called)
			}
		})
	}
}

var errPanic, errUnrecorded = errors.New("panics"), errors.New("not recorded")

func TestLongHandlerKeepsItsJob(t *testing.T) {
	q := start(t, Options{AckWait: 150 * time.Millisecond})
	var calls atomic.Int32
	work(t, q, 4, func(context.Context, Job) error {
		calls.Add(1)
		time.Sleep(800 * time.Millisecond)
		return nil
	})
	submit(t, q, job(1))
	eventually(t, "done", func() bool { return calls.Load() > 0 && stats(t, q) == Stats{} })
	time.Sleep(200 * time.Millisecond)
	if calls.Load() != 1 {
		t.Errorf("handled %d times", calls.Load())
	}
}

func TestDrain(t *testing.T) {
	t.Run("handlers finish", func(t *testing.T) {
		q := start(t, Options{DrainTime: 10 * time.Second})
		entered := make(chan struct{}, 9)
		var done atomic.Int32
		stop := work(t, q, 2, func(ctx context.Context, _ Job) error {
			entered <- struct{}{}
			time.Sleep(100 * time.Millisecond)
			done.Add(1)
			return ctx.Err()
		})
		for n := range 5 {
			submit(t, q, job(n))
		}
		<-entered
		<-entered
		stop()
		if s := stats(t, q); done.Load() != 2 || s != (Stats{Waiting: 3}) {
			t.Errorf("%d done, %+v", done.Load(), s)
		}
	})
	t.Run("handlers that take too long give their jobs back", func(t *testing.T) {
		dir := t.TempDir()
		q := start(t, Options{Dir: dir, DrainTime: 50 * time.Millisecond})
		entered := make(chan struct{}, 9)
		stop := work(t, q, 2, func(ctx context.Context, _ Job) error {
			entered <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
		for n := range 3 {
			submit(t, q, job(n))
		}
		<-entered
		<-entered
		stop()
		q.Close()
		q = start(t, Options{Dir: dir, Queued: queued(0, 1, 2)})
		begin := time.Now()
		var done atomic.Int32
		work(t, q, 1, func(context.Context, Job) error { done.Add(1); return nil })
		eventually(t, "all done", func() bool { return done.Load() == 3 && stats(t, q) == Stats{} })
		if took := time.Since(begin); took > 10*time.Second { // the deadline is 30 s
			t.Errorf("jobs came back after %v", took)
		}
	})
}

// TestKilled kills a process with SIGKILL while it works: the jobs it had and those it had not begun come at once to
// the next process.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("ICHOR_TEST_QUEUE"); dir != "" {
		victim(t, dir)
		return
	}
	dir := t.TempDir()
	const kills = 3
	for n := range kills {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$", "-test.count=1")
		cmd.Env = append(os.Environ(), "ICHOR_TEST_QUEUE="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		lines := bufio.NewScanner(out)
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "working") {
		}
		if want := "working 1.2.3.1"; lines.Text() != want {
			t.Errorf("kill %d: %q, want %q", n, lines.Text(), want)
		}
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("job came after %v, the deadline is 30 s", took)
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
	q := start(t, Options{Dir: dir, Queued: queued(1, 2)})
	done := make(chan Job, 9)
	work(t, q, 1, func(_ context.Context, j Job) error { done <- j; return nil })
	if first, second := <-done, <-done; first != job(1) || second != job(2) {
		t.Errorf("done %+v and %+v", first, second)
	}
	eventually(t, "settled", func() bool { return stats(t, q) == Stats{} })
}

func victim(t *testing.T, dir string) {
	q, err := Start(t.Context(), Options{Dir: dir, Node: "n1", Queued: queued(1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	q.Work(t.Context(), 1, func(_ context.Context, j Job) error {
		fmt.Printf("working %s\n", j.StudyInstanceUID)
		select {}
	})
}

// external starts a server as a cluster of one would be.
func external(t *testing.T) string {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("server not ready")
	}
	return srv.ClientURL()
}

func TestExternalServer(t *testing.T) {
	t.Parallel()
	url := external(t)
	node := start(t, Options{URL: url})
	worker := start(t, Options{URL: url})
	if err := node.Ready(); err != nil {
		t.Error(err)
	}
	submit(t, node, job(1))
	entered, finish := make(chan struct{}), make(chan struct{})
	work(t, worker, 1, func(context.Context, Job) error { close(entered); <-finish; return nil })
	<-entered
	if s := stats(t, node); s != (Stats{Working: 1}) {
		t.Errorf("%+v", s)
	}
	close(finish)
	eventually(t, "done", func() bool { return stats(t, node) == Stats{} })
}

// TestTwoNodes: nodes that share a server leave each other's jobs alone.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	url := external(t)
	got := make(chan string, 99)
	var nodes []*Queue
	for _, name := range []string{"n1", "n2"} {
		q := start(t, Options{URL: url, Node: name})
		nodes = append(nodes, q)
		submit(t, q, job(1)) // the same study at both
		work(t, q, 2, func(_ context.Context, j Job) error { got <- name + " " + j.StudyInstanceUID; return nil })
	}
	submit(t, nodes[0], job(2))
	list := []string{<-got, <-got, <-got}
	slices.Sort(list)
	if want := []string{"n1 1.2.3.1", "n1 1.2.3.2", "n2 1.2.3.1"}; !slices.Equal(list, want) {
		t.Errorf("%q, want %q", list, want)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"no node", Options{Dir: t.TempDir(), Node: "a.b"}, "invalid node name"},
		{"no folder", Options{}, "without a folder"},
		{"a file", Options{Dir: file}, "queue folder"},
		{"nobody there", Options{URL: "nats://127.0.0.1:1"}, "nats://127.0.0.1:1"},
		{"no password in errors", Options{URL: "nats://ichor:secret@127.0.0.1:1,nats://secret@127.0.0.1:1"}, "nats://xxx@127.0.0.1:1"},
	} {
		tt.o.Node = cmp.Or(tt.o.Node, "n1")
		if q, err := Start(t.Context(), tt.o); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, %v", tt.name, q, err)
		}
	}
}
