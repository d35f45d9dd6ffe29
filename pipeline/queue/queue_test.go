package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
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
	return Job{CaseID: state.IDOf(study), StudyInstanceUID: study, Revision: 1, Complete: "quiet 5s"}
}

// work runs Work until the test calls the returned function.
func work(t *testing.T, q *Queue, workers int, handle func(context.Context, Job, int) error) (stop func()) {
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
	stop := work(t, q, 3, func(_ context.Context, j Job, try int) error {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		time.Sleep(10 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		if try != 1 || j.Complete != "quiet 5s" || j.CaseID != state.IDOf(j.StudyInstanceUID) {
			t.Errorf("job %+v try %d", j, try)
		}
		got[j.StudyInstanceUID]++
		return nil
	})
	eventually(t, "all done", func() bool { return stats(t, q) == Stats{} })
	for n := range 10 {
		submit(t, q, job(n)) // done, and still remembered
	}
	next := job(0)
	next.Revision = 2
	submit(t, q, next)
	eventually(t, "next revision done", func() bool { return stats(t, q) == Stats{} })
	stop()
	for n := range 10 {
		want := 1
		if n == 0 {
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

func TestErrors(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct {
		name   string
		handle func(context.Context, Job, int) error
		tries  int
		reason string // "" is done in the end
	}{
		{"mended at the third try", func(_ context.Context, _ Job, try int) error {
			if try < 3 {
				return boom
			}
			return nil
		}, 3, ""},
		{"tries used up", func(context.Context, Job, int) error { return boom }, 4, "after 4 tries: boom"},
		{"permanent", func(context.Context, Job, int) error { return fmt.Errorf("stage: %w", Permanent(boom)) }, 1, "stage: boom"},
		{"panic", func(context.Context, Job, int) error { panic("at the disco") }, 4, "after 4 tries: panic: at the disco"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var told atomic.Int32
			var refuse atomic.Bool
			refuse.Store(true)
			q := start(t, Options{MaxTries: 4, Dead: func(_ context.Context, j Job, reason error) error {
				if j != job(1) || reason.Error() != tt.reason {
					t.Errorf("dead %+v because %q", j, reason)
				}
				told.Add(1)
				return nil
			}})
			var tries atomic.Int32
			work(t, q, 2, func(ctx context.Context, j Job, try int) error { tries.Add(1); return tt.handle(ctx, j, try) })
			submit(t, q, job(1))
			want := Stats{}
			if tt.reason != "" {
				want.Dead = 1
			}
			eventually(t, "settled", func() bool { return tries.Load() >= int32(tt.tries) && stats(t, q) == want })
			if n := int(tries.Load()); n != tt.tries {
				t.Errorf("%d tries, want %d", n, tt.tries)
			}
			letters, err := q.DeadLetters(t.Context())
			if err != nil || len(letters) != want.Dead {
				t.Fatalf("dead letters %+v, error %v", letters, err)
			}
			if want.Dead == 1 {
				if l := letters[0]; l.Reason != tt.reason || l.Job != job(1) || l.Tries != tt.tries || told.Load() != 1 {
					t.Errorf("%+v, told %d times", l, told.Load())
				}
			}
		})
	}
}

func TestLongHandlerKeepsItsJob(t *testing.T) {
	q := start(t, Options{AckWait: 150 * time.Millisecond})
	var calls atomic.Int32
	work(t, q, 4, func(context.Context, Job, int) error {
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
		stop := work(t, q, 2, func(ctx context.Context, _ Job, _ int) error {
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
		stop := work(t, q, 2, func(ctx context.Context, _ Job, _ int) error {
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
		q = start(t, Options{Dir: dir})
		begin := time.Now()
		var done atomic.Int32
		work(t, q, 1, func(context.Context, Job, int) error { done.Add(1); return nil })
		eventually(t, "all done", func() bool { return done.Load() == 3 && stats(t, q) == Stats{} })
		if took := time.Since(begin); took > 10*time.Second { // the deadline is 30 s
			t.Errorf("jobs came back after %v", took)
		}
	})
}

// TestKilled kills a process with SIGKILL while it works: the jobs it had and those it had not begun come at once to
// the next process, and count their deliveries on.
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
		if want := fmt.Sprintf("working try %d", n+1); lines.Text() != want {
			t.Errorf("%q, want %q", lines.Text(), want)
		}
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("job came after %v, the deadline is 30 s", took)
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
	q := start(t, Options{Dir: dir, MaxLost: kills})
	done := make(chan Job, 9)
	work(t, q, 1, func(_ context.Context, j Job, _ int) error { done <- j; return nil })
	if j := <-done; j != job(2) {
		t.Errorf("done %+v, want the job that does not kill", j)
	}
	eventually(t, "settled", func() bool { return stats(t, q) == Stats{Dead: 1} })
	letters, err := q.DeadLetters(t.Context())
	if err != nil || len(letters) != 1 || letters[0].Job != job(1) || letters[0].Reason != "handed out 3 times, never finished" {
		t.Errorf("letters %+v, error %v", letters, err)
	}
}

func victim(t *testing.T, dir string) {
	q, err := Start(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	submit(t, q, job(1))
	submit(t, q, job(2))
	q.Work(t.Context(), 1, func(_ context.Context, _ Job, try int) error {
		time.Sleep(500 * time.Millisecond) // the server writes the number of deliveries a moment later
		fmt.Printf("working try %d\n", try)
		select {}
	})
}

func TestExternalServer(t *testing.T) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer func() { srv.Shutdown(); srv.WaitForShutdown() }()
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("server not ready")
	}
	node := start(t, Options{URL: srv.ClientURL()})
	worker := start(t, Options{URL: srv.ClientURL()})
	submit(t, node, job(1))
	entered, finish := make(chan struct{}), make(chan struct{})
	work(t, worker, 1, func(context.Context, Job, int) error { close(entered); <-finish; return nil })
	<-entered
	if s := stats(t, node); s != (Stats{Working: 1}) {
		t.Errorf("%+v", s)
	}
	close(finish)
	eventually(t, "done", func() bool { return stats(t, node) == Stats{} })
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
		{"no folder", Options{}, "without a folder"},
		{"a file", Options{Dir: file}, "queue folder"},
		{"nobody there", Options{URL: "nats://127.0.0.1:1"}, "nats://127.0.0.1:1"},
		{"no password in errors", Options{URL: "nats://ichor:secret@127.0.0.1:1,nats://secret@127.0.0.1:1"}, "nats://xxx@127.0.0.1:1"},
	} {
		if q, err := Start(t.Context(), tt.o); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, %v", tt.name, q, err)
		}
	}
}
