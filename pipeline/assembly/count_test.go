package assembly

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// counting is an Assembler whose sender can be asked.
type counting struct {
	*Assembler
	mu    sync.Mutex
	here  int
	asked int
	done  []string
}

func newCounting(t *testing.T) *counting {
	c := &counting{}
	c.Assembler = New(Options{
		Quiet: 30 * time.Second, Limit: 10 * time.Minute,
		Ask:     func(string) { c.mu.Lock(); c.asked++; c.mu.Unlock() },
		Objects: func(string) int { c.mu.Lock(); defer c.mu.Unlock(); return c.here },
		Complete: func(_, how string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.done = append(c.done, how)
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = c.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return c
}

// objects brings n fresh objects of the study.
func (c *counting) objects(n int) {
	for range n {
		c.mu.Lock()
		c.here++
		c.mu.Unlock()
		c.received(1, "", "1.2", true)
	}
	synctest.Wait()
}

func (c *counting) tell(n int) {
	c.Expect("1.2", n)
	synctest.Wait()
}

func (c *counting) check(t *testing.T, asked int, done ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked != asked || !slices.Equal(c.done, done) {
		t.Errorf("asked %d times, complete by %q; want %d, %q", c.asked, c.done, asked, done)
	}
}

func TestCount(t *testing.T) {
	for name, f := range map[string]func(*testing.T, *counting){
		"reached": func(t *testing.T, c *counting) {
			c.objects(1)
			c.check(t, 1)
			c.tell(5)
			c.objects(3)
			c.check(t, 1)
			c.objects(1) // the association is still open
			c.check(t, 2)
			c.tell(5)
			c.check(t, 2, "count 5")
		},
		"told late": func(t *testing.T, c *counting) {
			c.objects(5)
			c.tell(5)
			c.check(t, 2)
			c.tell(5)
			c.check(t, 2, "count 5")
		},
		"the sender still receives": func(t *testing.T, c *counting) {
			c.objects(2)
			c.tell(2)
			c.check(t, 2)
			c.tell(7)
			c.objects(4)
			c.check(t, 2)
			c.objects(1)
			c.tell(7)
			c.check(t, 3, "count 7")
		},
		"never reached": func(t *testing.T, c *counting) {
			c.objects(4)
			c.tell(5)
			c.Closed(1)
			time.Sleep(time.Minute)
			synctest.Wait()
			c.check(t, 1, "quiet 30s, 4 of 5")
		},
		"not told again": func(t *testing.T, c *counting) {
			c.objects(5)
			c.tell(5)
			c.Closed(1)
			time.Sleep(time.Minute)
			synctest.Wait()
			c.check(t, 2, "quiet 30s, 5 of 5")
		},
		"more than told": func(t *testing.T, c *counting) {
			c.objects(3)
			c.tell(2)
			c.tell(2)
			c.check(t, 2, "count 2")
		},
		"nonsense": func(t *testing.T, c *counting) {
			c.tell(5) // of a study that is not being received
			c.objects(1)
			c.tell(0)
			c.tell(-1)
			c.check(t, 1)
		},
		"grown": func(t *testing.T, c *counting) {
			c.objects(2)
			c.tell(2)
			c.tell(2)
			c.objects(1) // here are 3 now
			c.tell(4)
			c.check(t, 3, "count 2")
			c.objects(1)
			c.tell(4)
			c.check(t, 4, "count 2", "count 4")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCounting(t)
				c.Opened(1)
				f(t, c)
			})
		})
	}
}

// TestCountIsCheap holds that objects are not counted for each that arrives.
func TestCountIsCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounting(t)
		counts := 0
		here := c.opts.Objects
		c.opts.Objects = func(study string) int { counts++; return here(study) }
		c.Opened(1)
		c.objects(1)
		c.tell(1000)
		c.objects(999)
		c.tell(1000)
		c.check(t, 2, "count 1000")
		if counts > 5 {
			t.Error(fmt.Sprint("counted ", counts, " times"))
		}
	})
}
