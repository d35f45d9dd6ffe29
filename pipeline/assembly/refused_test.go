package assembly

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestRefusedHere: a study is not complete while this node itself could not store its objects, until the limit.
func TestRefusedHere(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(r *rig)
		want []string
	}{
		{"the sender is refused and comes again", func(r *rig) {
			r.Opened(1)
			r.received(1, "", "A", true)
			r.Closed(1)
			r.sleep(4 * time.Second)
			r.Refused(2) // an association that has sent nothing yet
			r.sleep(4 * time.Second)
			r.received(3, "", "A", true)
			r.sleep(20 * time.Second)
		}, []string{"0s begin A", "13s A quiet 5s"}},
		{"refused on an open association", func(r *rig) {
			r.Opened(1)
			r.received(1, "", "A", true)
			for range 3 {
				r.sleep(10 * time.Second)
				r.Refused(1)
			}
			r.sleep(20 * time.Second)
			r.Closed(1)
		}, []string{"0s begin A", "45s A idle 15s"}},
		{"full while nobody sends", func(r *rig) {
			r.received(1, "", "A", true)
			r.full.Store(true)
			r.sleep(32 * time.Second)
			r.full.Store(false)
			r.sleep(20 * time.Second)
		}, []string{"0s begin A", "35s A quiet 5s"}},
		{"full for too long", func(r *rig) {
			r.received(1, "", "A", true)
			r.full.Store(true)
			r.sleep(2 * time.Minute)
		}, []string{"0s begin A", "1m0s A limit 1m"}},
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

// TestReceivedNeverWaits: a slow disk behind Objects holds up no association.
func TestReceivedNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, release := make(chan struct{}), make(chan struct{})
		a := New(Options{Quiet: time.Second, Ask: func(string) {}, Objects: func(string) int {
			entered <- struct{}{}
			<-release
			return 1
		}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { a.Run(ctx); close(ended) }()
		a.Opened(1)
		a.received(1, "", "A", true)
		a.Expect("A", 1)
		<-entered
		done := make(chan struct{})
		go func() {
			a.received(1, "", "A", true)
			a.Refused(1)
			a.Closed(1)
			close(done)
		}()
		synctest.Wait()
		select {
		case <-done:
		default:
			t.Error("Received waits for Objects")
		}
		cancel()
		go func() {
			for range entered {
			}
		}()
		close(release)
		<-ended
		<-done
		close(entered)
	})
}
