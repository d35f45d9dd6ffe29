package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	checkEvery  = 5 * time.Second  // how long a result of Ready is reused
	keepEvery   = 15 * time.Second // how often the embedded server is checked if nothing failed
	openRetry   = time.Second      // between attempts to reopen it
	maxReopened = 10               // failed attempts with a working disk, after which only a restart can help
)

// DiskTrouble reports whether an error comes from our own disk and may be temporary: it is full, read-only or failing.
func DiskTrouble(err error) bool {
	for _, e := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Ready returns why no job can be stored, nil if one can. It asks the server at most every few seconds.
func (q *Queue) Ready() error {
	if q.opts.URL != "" {
		return q.examine()
	}
	q.mu.Lock()
	err, fresh := q.broken, time.Since(q.checked) < checkEvery
	if err != nil || fresh {
		q.mu.Unlock()
		return err
	}
	q.checked = time.Now() // concurrent callers use the previous result
	q.mu.Unlock()
	if err = q.examine(); err != nil {
		q.mu.Lock()
		q.broken = err
		q.mu.Unlock()
		q.lookAgain()
	}
	return err
}

var errClosed = errors.New("the queue is not open")

// closed returns why there is no link.
func (q *Queue) closed() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return cmp.Or(q.broken, errClosed)
}

// examine checks the server and the disk.
func (q *Queue) examine() error {
	l := q.link.Load()
	switch {
	case l == nil:
		return errClosed
	case l.srv == nil && !l.conn.IsConnected():
		return fmt.Errorf("queue: not connected to the NATS server %q; check queue.url, and that the server is running", redact(q.opts.URL))
	case l.srv == nil:
		return nil
	}
	if err := q.probe(); err != nil {
		return err
	}
	return health(l.srv)
}

// probe writes a file next to those of the embedded server.
func (q *Queue) probe() error {
	dir := q.opts.Dir
	if dir == "" {
		return errors.New("embedded queue without a folder")
	}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = write(filepath.Join(dir, ".probe"))
	}
	switch {
	case err == nil:
		return nil
	case DiskTrouble(err):
		return fmt.Errorf("queue folder: %w; free disk space or repair the disk; nothing is lost, studies wait meanwhile", err)
	}
	return fmt.Errorf("queue folder: %w; make it writable for this user", err)
}

func write(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close())
}

// health asks the embedded server whether its streams can store. After a failed write none can, even with free space, until
// the server is reopened.
func health(srv *server.Server) error {
	var answer recorder
	r, err := http.NewRequest(http.MethodGet, "/healthz", nil)
	if err != nil {
		return err
	}
	srv.HandleHealthz(&answer, r)
	if answer.code == 0 || answer.code == http.StatusOK {
		return nil
	}
	var says struct{ Error string }
	_ = json.Unmarshal(answer.text, &says)
	return fmt.Errorf("queue: %s; it is reopened as soon as the disk can be written", says.Error)
}

// recorder stores the response of an HTTP handler.
type recorder struct {
	header http.Header
	code   int
	text   []byte
}

func (r *recorder) Header() http.Header {
	if r.header == nil {
		r.header = http.Header{}
	}
	return r.header
}
func (r *recorder) WriteHeader(code int) { r.code = code }
func (r *recorder) Write(p []byte) (int, error) {
	r.text = append(r.text, p...)
	return len(p), nil
}

// waits decides what Start does if the embedded queue cannot be opened because of cause. It returns nil if the disk is the
// problem: the node then starts without a queue.
func (q *Queue) waits(cause error) error {
	err := q.probe()
	if err == nil {
		return fmt.Errorf("embedded queue in %s: %w; see the log for its reason", q.opts.Dir, cause)
	}
	if !DiskTrouble(err) {
		return err
	}
	q.opts.Logger.Error("studies are not analysed until the queue can be opened", "err", err)
	q.broken, q.checked = err, time.Now()
	return nil
}

// lookAgain makes keep check the embedded server now.
func (q *Queue) lookAgain() {
	select {
	case q.look <- struct{}{}:
	default:
	}
}

// keep reopens the embedded server whenever it can no longer store, until ctx is done. It returns an error if that fails
// although the disk works.
func (q *Queue) keep(ctx context.Context) error {
	if q.opts.URL != "" {
		return nil
	}
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	wait := tick.C
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-q.look:
		case <-wait:
		}
		err := q.examine()
		if err != nil && ctx.Err() == nil {
			err = q.reopen(ctx, err)
		}
		wait = tick.C
		if err != nil {
			wait = time.After(openRetry)
		}
		q.mu.Lock()
		if q.broken != nil && err == nil {
			q.opts.Logger.Info("queue can store again")
		}
		q.broken, q.checked = err, time.Now()
		if err == nil || DiskTrouble(err) {
			q.reopened = 0
		} else {
			q.reopened++
		}
		failed := q.reopened
		q.mu.Unlock()
		if failed >= maxReopened && ctx.Err() == nil {
			return fmt.Errorf("queue cannot be reopened: %w; restart the node; no study is lost", err)
		}
	}
}

// reopen closes the embedded server and opens it again, with the queued jobs from state, as soon as the disk can be written.
// Running jobs continue; they are delivered again and are then found done.
func (q *Queue) reopen(ctx context.Context, cause error) error {
	if err := q.probe(); err != nil {
		return err // keep the server: it may still be able to read
	}
	if l := q.link.Swap(nil); l != nil {
		q.opts.Logger.Error("queue cannot store, reopening it", "err", cause)
		l.close()
	}
	l, err := q.open(ctx)
	if err == nil {
		q.link.Store(l)
	}
	return err
}
