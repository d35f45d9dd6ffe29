package queue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestUrgentFirst: urgent jobs are taken before routine ones that came earlier, by workers of the node and of other machines.
func TestUrgentFirst(t *testing.T) {
	t.Parallel()
	urgent := func(n int) Job { j := job(n); j.Urgent = true; return j }
	for _, far := range []bool{false, true} {
		url := external(t)
		q := start(t, Options{URL: url, Serves: "https://node"})
		for _, j := range []Job{job(1), job(2), urgent(3), urgent(4)} {
			submit(t, q, j)
		}
		eventually(t, "four jobs wait", func() bool { return stats(t, q).Waiting == 4 }) // the server counts after it has stored
		var mu sync.Mutex
		var got []string
		handle := func(_ context.Context, j Job) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, j.StudyInstanceUID[len("1.2.3."):])
			return nil
		}
		if far {
			pull(t, url, PullOptions{Agree: func(context.Context, Origin) error { return nil },
				Analyse: func(ctx context.Context, o Origin, j Job) error {
					if o != (Origin{"n1", "https://node"}) {
						t.Errorf("job of %+v", o)
					}
					return handle(ctx, j)
				}})
		} else {
			work(t, q, 1, handle)
		}
		eventually(t, "all done", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 4 })
		if want := []string{"3", "4", "1", "2"}; !slices.Equal(got, want) {
			t.Errorf("far %t: order %v, want %v", far, got, want)
		}
	}
}

// pull starts a worker of another machine.
func pull(t *testing.T, url string, o PullOptions) *Puller {
	t.Helper()
	p, err := Pull(Options{URL: url, Backoff: func(int) time.Duration { return 20 * time.Millisecond }}, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Work(ctx, 1) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, p.Close()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestPullDisagrees: jobs of a node that does not agree stay; so do those of a node that serves no studies.
func TestPullDisagrees(t *testing.T) {
	t.Parallel()
	url := external(t)
	q := start(t, Options{URL: url, Serves: "https://node"})
	alone := start(t, Options{URL: url, Node: "n2"})
	submit(t, q, job(1))
	submit(t, alone, job(2))
	p := pull(t, url, PullOptions{Agree: func(context.Context, Origin) error { return errors.New("another bundle") },
		Analyse: func(context.Context, Origin, Job) error { t.Error("a job was taken"); return nil }})
	eventually(t, "refused", func() bool { return strings.Contains(p.Refused()["n1"], "another bundle") })
	if _, ok := p.Refused()["n2"]; ok {
		t.Error("a node that serves no studies was asked")
	}
	if s := stats(t, q); s.Waiting != 1 {
		t.Errorf("%+v", s)
	}
}

// TestPullFails: what becomes of a failed job is asked of its node.
func TestPullFails(t *testing.T) {
	t.Parallel()
	url := external(t)
	q := start(t, Options{URL: url, Serves: "https://node"})
	submit(t, q, job(1))
	tries := make(chan int, 9)
	n := 0
	pull(t, url, PullOptions{Agree: func(context.Context, Origin) error { return nil },
		Analyse: func(context.Context, Origin, Job) error { return errors.New("broken") },
		Failed: func(_ context.Context, o Origin, j Job, reason error) (int, bool, error) {
			if o.Node != "n1" || j.StudyInstanceUID != "1.2.3.1" || reason.Error() != "broken" {
				t.Errorf("%+v, %+v, %v", o, j, reason)
			}
			n++
			tries <- n
			return n, n < 3, nil
		}})
	eventually(t, "given up", func() bool { return len(tries) == 3 })
	eventually(t, "gone", func() bool { return stats(t, q) == Stats{} })
}
