package ul

import (
	"net"
	"os"
	"sync"
	"time"
)

// stride is how many bytes a peer must move to get its time again in the middle of a message. With
// the default of 60 s that is a floor of 270 bytes a second: a peer that drips is let go.
const stride = 16 << 10

// wire puts deadlines on a connection. Time counts only while a read waits for the peer, never while
// this side is busy with what it read.
type wire struct {
	conn net.Conn

	// of the reading goroutine
	left  time.Duration // until the peer is too slow
	again time.Duration // what left becomes after each stride; 0: never renewed
	moved int

	mu          sync.Mutex // orders deadlines against interrupt
	interrupted bool
}

// arm gives the peer d from now on, and again d after each stride if renew is set.
func (w *wire) arm(d time.Duration, renew bool) {
	w.left, w.again, w.moved = d, 0, 0
	if renew {
		w.again = d
	}
}

func (w *wire) Read(p []byte) (int, error) {
	if w.left <= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	start := time.Now()
	if !w.deadline(start.Add(w.left)) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := w.conn.Read(p)
	w.left -= time.Since(start)
	w.moved += n
	if w.again > 0 && w.moved >= stride {
		w.left, w.moved = w.again, 0
	}
	return n, err
}

// deadline sets the read deadline unless the wire is interrupted.
func (w *wire) deadline(t time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.interrupted {
		return false
	}
	return w.conn.SetReadDeadline(t) == nil
}

// write writes all of b within d.
func (w *wire) write(b []byte, d time.Duration) error {
	w.mu.Lock()
	if w.interrupted {
		d = min(d, abortGrace)
	}
	err := w.conn.SetWriteDeadline(time.Now().Add(d))
	w.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = w.conn.Write(b)
	return err
}

// interrupt ends a read in progress, now or soon to come, and gives a write a last moment.
func (w *wire) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupted = true
	now := time.Now()
	_ = w.conn.SetReadDeadline(now) // fails on a closed connection only
	_ = w.conn.SetWriteDeadline(now.Add(abortGrace))
}

// resume takes an interrupt back.
func (w *wire) resume() {
	w.mu.Lock()
	w.interrupted = false
	w.mu.Unlock()
}

func (w *wire) isInterrupted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.interrupted
}
