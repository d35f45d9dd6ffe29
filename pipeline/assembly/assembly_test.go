package assembly

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// rig runs an Assembler in a bubble of its own time and writes down what it says.
type rig struct {
	*Assembler
	t     *testing.T
	start time.Time
	log   []string
	full  atomic.Bool // the node can store nothing
	stop  func()
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, start: time.Now()}
	r.Assembler = New(Options{
		Quiet: 5 * time.Second,
		Limit: time.Minute,
		Begin: func(study string) { r.Expect("none", 1); r.say("begin " + study) }, // Expect would hang if a lock were held
		Ready: func() error {
			r.Expect("none", 1)
			if r.full.Load() {
				return errors.New("no space")
			}
			return nil
		},
		Complete: func(study, how string) { r.Expect("none", 1); r.say(study + " " + how) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { r.Run(ctx); close(ended) }()
	r.stop = func() { cancel(); <-ended }
	return r
}

func (r *rig) say(s string) { r.log = append(r.log, fmt.Sprintf("%v %s", time.Since(r.start), s)) }

func (r *rig) sleep(d time.Duration) { time.Sleep(d); synctest.Wait() }

func TestComplete(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*rig)
		want []string
	}{
		{"quiet after the last object", func(r *rig) {
			r.Opened(1)
			r.received(1, "", "A", true)
			r.sleep(4 * time.Second)
			r.received(1, "", "A", true)
			r.Closed(1)
			r.sleep(20 * time.Second)
		}, []string{"0s begin A", "9s A quiet 5s"}},
		{"an open association that sends it holds it", func(r *rig) {
			r.Opened(1)
			r.received(1, "", "A", true)
			r.sleep(12 * time.Second)
			r.received(1, "", "A", true)
			r.sleep(10 * time.Second)
			r.Closed(1)
			r.sleep(time.Second)
		}, []string{"0s begin A", "22s A quiet 5s"}},
		{"an open association that sends nothing holds it for a while", func(r *rig) {
			r.Opened(1)
			r.received(1, "", "A", true)
			r.sleep(50 * time.Second)
			r.Closed(1)
			r.sleep(time.Second)
		}, []string{"0s begin A", "15s A idle 15s"}},
		{"an association that went on to another study holds the first no longer", func(r *rig) {
			r.Opened(1)
			r.received(1, "", "A", true)
			r.sleep(2 * time.Second)
			for range 6 {
				r.received(1, "", "B", true)
				r.sleep(2 * time.Second)
			}
			r.Closed(1)
			r.sleep(10 * time.Second)
		}, []string{"0s begin A", "2s begin B", "5s A quiet 5s", "17s B quiet 5s"}},
		{"and comes back to it", func(r *rig) {
			r.Opened(1)
			r.received(1, "", "A", true)
			r.received(1, "", "B", true)
			r.received(1, "", "A", true)
			r.sleep(10 * time.Second)
			r.Closed(1)
			r.sleep(time.Second)
		}, []string{"0s begin A", "0s begin B", "5s B quiet 5s", "10s A quiet 5s"}},
		{"an open association that sent of another does not", func(r *rig) {
			r.Opened(1)
			r.Opened(2)
			r.received(1, "", "A", true)
			r.received(2, "", "B", true)
			r.Closed(1)
			r.sleep(10 * time.Second)
			r.Closed(2)
			r.sleep(time.Second)
		}, []string{"0s begin A", "0s begin B", "5s A quiet 5s", "10s B quiet 5s"}},
		{"two associations, both must end", func(r *rig) {
			r.Opened(1)
			r.Opened(2)
			r.received(1, "", "A", true)
			r.received(2, "", "A", true)
			r.Closed(1)
			r.sleep(10 * time.Second)
			r.Closed(2)
			r.sleep(time.Second)
		}, []string{"0s begin A", "10s A quiet 5s"}},
		{"the limit ends a study whose association goes on and on", func(r *rig) {
			r.Opened(1)
			for range 7 {
				r.received(1, "", "A", true)
				r.sleep(10 * time.Second)
			}
			r.Closed(1)
			r.sleep(time.Minute)
		}, []string{"0s begin A", "1m0s A limit 1m", "1m0s begin A", "1m10s A quiet 5s"}},
		{"the limit ends a study that never falls silent", func(r *rig) {
			for range 20 {
				r.received(1, "", "A", true)
				r.sleep(4 * time.Second)
			}
			r.sleep(10 * time.Second)
		}, []string{"0s begin A", "1m0s A limit 1m", "1m0s begin A", "1m21s A quiet 5s"}},
		{"after completion the same association counts again", func(r *rig) {
			r.Opened(1)
			r.received(1, "", "A", true)
			r.sleep(70 * time.Second)
			r.received(1, "", "A", true)
			r.sleep(10 * time.Second)
			r.Closed(1)
			r.sleep(10 * time.Second)
		}, []string{"0s begin A", "15s A idle 15s", "1m10s begin A", "1m20s A quiet 5s"}},
		{"objects after completion begin anew", func(r *rig) {
			r.received(1, "", "A", true)
			r.sleep(6 * time.Second)
			r.received(2, "", "A", true)
			r.sleep(6 * time.Second)
		}, []string{"0s begin A", "5s A quiet 5s", "6s begin A", "11s A quiet 5s"}},
		{"a repeated object prolongs but does not begin", func(r *rig) {
			r.received(1, "", "A", true)
			r.sleep(3 * time.Second)
			r.received(1, "", "A", false)
			r.sleep(10 * time.Second)
			r.received(1, "", "A", false)
			r.sleep(10 * time.Second)
		}, []string{"0s begin A", "8s A quiet 5s"}},
		{"resumed", func(r *rig) {
			r.Resume("A", 10)
			r.Resume("A", 10)
			r.sleep(3 * time.Second)
			r.received(1, "", "A", true)
			r.sleep(10 * time.Second)
		}, []string{"0s begin A", "8s A quiet 5s"}},
		{"an association that sent nothing", func(r *rig) {
			r.Opened(1)
			r.sleep(time.Second)
			r.Closed(1)
			r.Closed(1)
			r.sleep(10 * time.Minute)
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				tt.do(r)
				r.stop()
				if !slices.Equal(r.log, tt.want) {
					t.Errorf("got  %q\nwant %q", r.log, tt.want)
				}
			})
		})
	}
}

// TestCompleteResumes holds that a callback may ask for the study again.
func TestCompleteResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a *Assembler
		var calls int
		a = New(Options{Quiet: time.Second, Complete: func(study, how string) {
			if calls++; calls < 3 {
				a.Resume(study, 1)
			}
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a.received(1, "", "A", true)
		if err := a.Run(ctx); err != nil || calls != 3 {
			t.Errorf("%d calls, error %v, want 3", calls, err)
		}
	})
}

// TestRandom holds the rules over random sequences of events, against a model that remembers everything: Begin and
// Complete alternate, "quiet" is never said within the quiet period or with a sending association open, no study is
// gathered beyond the limit, and none is forgotten.
func TestRandom(t *testing.T) {
	const quiet, limit = 5 * time.Second, time.Minute
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			type model struct {
				first, last time.Time
				gathering   bool
				senders     map[uint64]bool
			}
			studies := map[string]*model{"A": {}, "B": {}, "C": {}}
			open := map[uint64]bool{}
			begins, completes := map[string]int{}, map[string]int{}
			a := New(Options{Quiet: quiet, Limit: limit,
				Begin: func(study string) {
					if begins[study]++; begins[study] != completes[study]+1 {
						t.Errorf("seed %d: begin %d of %s after %d completions", seed, begins[study], study, completes[study])
					}
				},
				Complete: func(study, how string) {
					m := studies[study]
					completes[study]++
					switch {
					case !m.gathering:
						t.Errorf("seed %d: %s complete without objects", seed, study)
					case how == "quiet 5s" && (len(m.senders) > 0 || time.Since(m.last) < quiet):
						t.Errorf("seed %d: %s quiet with %d senders, %v after the last object", seed, study, len(m.senders), time.Since(m.last))
					case how == "limit 1m" && time.Since(m.first) != limit:
						t.Errorf("seed %d: %s limit after %v", seed, study, time.Since(m.first))
					case how == "idle 15s" && (len(m.senders) == 0 || time.Since(m.last) != 15*time.Second):
						t.Errorf("seed %d: %s idle with %d senders, %v after the last object", seed, study, len(m.senders), time.Since(m.last))
					case how != "quiet 5s" && how != "limit 1m" && how != "idle 15s":
						t.Errorf("seed %d: %s complete by %q", seed, study, how)
					}
					m.gathering = false
				}})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { a.Run(ctx); close(ended) }()
			for range 100 {
				assoc := rng.Uint64N(4)
				switch rng.IntN(10) {
				case 0, 1:
					if !open[assoc] {
						open[assoc] = true
						a.Opened(assoc)
					}
				case 2, 3:
					delete(open, assoc)
					for _, m := range studies {
						delete(m.senders, assoc)
					}
					a.Closed(assoc)
				case 4:
					time.Sleep(time.Duration(rng.IntN(20000)) * time.Millisecond)
				default:
					time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
					study, fresh := string(rune('A'+rng.IntN(3))), rng.IntN(4) > 0
					synctest.Wait() // the model must not race with a deadline of this very instant
					m := studies[study]
					if !m.gathering && fresh {
						*m = model{first: time.Now(), gathering: true, senders: map[uint64]bool{}}
					}
					if m.gathering {
						m.last = time.Now()
						if open[assoc] {
							for _, other := range studies {
								delete(other.senders, assoc)
							}
							m.senders[assoc] = true
						}
					}
					a.received(assoc, "", study, fresh)
				}
				synctest.Wait()
			}
			for assoc := range open {
				for _, m := range studies {
					delete(m.senders, assoc)
				}
				a.Closed(assoc)
				synctest.Wait() // Complete reads the model
			}
			time.Sleep(quiet)
			synctest.Wait()
			for study, m := range studies {
				if m.gathering || begins[study] != completes[study] {
					t.Errorf("seed %d: %s forgotten: %d begun, %d complete", seed, study, begins[study], completes[study])
				}
			}
			if len(a.studies) > 0 {
				t.Errorf("seed %d: %d studies pending", seed, len(a.studies))
			}
			cancel()
			<-ended
		})
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		5 * time.Second: "5s", 500 * time.Millisecond: "500ms", 10 * time.Minute: "10m", time.Hour: "1h",
		90 * time.Second: "1m30s", 90 * time.Minute: "1h30m", 10 * time.Second: "10s", 20 * time.Minute: "20m",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
