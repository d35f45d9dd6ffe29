package ul

import (
	"net"
	"os"
	"sync"
	"time"
)

// stride is how many bytes must be transferred within a message before its deadline is extended. With the default of 60 s
// this means at least 270 bytes per second; slower peers are dropped.
const stride = 16 << 10

// wire sets deadlines on a connection. Time counts only while a read waits for the peer, not while this side processes data.
type wire struct {
	conn net.Conn

	// used only by the reading goroutine
	left  time.Duration // time left for the peer
	again time.Duration // value of left after each stride; 0: never renewed
	moved int

	mu          sync.Mutex // orders deadlines against interrupt
	interrupted bool
}

// arm gives the peer d from now on, and d again after each stride if renew is set.
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

// interrupt ends the current or the next read, and gives a current write a short time to finish.
func (w *wire) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupted = true
	now := time.Now()
	_ = w.conn.SetReadDeadline(now) // fails only on a closed connection
	_ = w.conn.SetWriteDeadline(now.Add(abortGrace))
}

// resume undoes interrupt.
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
