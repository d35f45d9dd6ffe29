package queue

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

func TestDeadHookIsAskedAgain(t *testing.T) {
	var asked atomic.Int32
	q := start(t, Options{Dead: func(context.Context, Job, error) error {
		if asked.Add(1) < 3 {
			return errors.New("disk full")
		}
		return nil
	}})
	work(t, q, 1, func(context.Context, Job, int) error { return Permanent(errors.New("no")) })
	submit(t, q, job(1))
	eventually(t, "dead", func() bool { return asked.Load() == 3 && stats(t, q) == Stats{Dead: 1} })
}

func TestReplayAndDiscard(t *testing.T) {
	q := start(t, Options{Revive: func(_ context.Context, j Job) (Job, error) {
		if j == job(2) {
			return j, errors.New("not now")
		}
		j.Revision++
		return j, nil
	}})
	var mend atomic.Bool
	var revision atomic.Int32
	work(t, q, 1, func(_ context.Context, j Job, try int) error {
		if mend.Load() {
			revision.Store(int32(j.Revision))
			return nil
		}
		return Permanent(errors.New("no model"))
	})
	for n := range 4 {
		submit(t, q, job(n))
	}
	eventually(t, "four dead", func() bool { return stats(t, q) == Stats{Dead: 4} })
	mend.Store(true)
	letters, err := q.DeadLetters(t.Context())
	if err != nil || len(letters) != 4 || letters[0].Job != job(0) || letters[3].Job != job(3) {
		t.Fatalf("letters %+v, error %v", letters, err)
	}
	if err := q.Replay(t.Context(), letters[1].ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "replayed as revision 2", func() bool { return revision.Load() == 2 && stats(t, q) == Stats{Dead: 3} })
	if err := q.Replay(t.Context(), letters[2].ID); err == nil {
		t.Error("replay without a reviver's consent")
	}
	if err := q.Discard(t.Context(), letters[3].ID); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{letters[1].ID, letters[3].ID, "", "*", ">", "a b", ".", "x.y.z"} {
		if err := q.Replay(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("replay of %q: %v", id, err)
		}
		if err := q.Discard(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("discard of %q: %v", id, err)
		}
	}
	if letters, err = q.DeadLetters(t.Context()); err != nil || len(letters) != 2 || letters[0].Job != job(0) || letters[1].Job != job(2) {
		t.Errorf("left %+v, error %v", letters, err)
	}
}
