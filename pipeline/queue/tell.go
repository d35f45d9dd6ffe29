package queue

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// mostUntold bounds what waits for a server that is not reached, in bytes of keys and values: about 100,000 notes about an object
// that was sent. What comes then is dropped. The other node may send such an object again, with the same UID.
const mostUntold = 32 << 20

// untold is what Tell was given and is not stored yet. What is being stored is not in notes, but counts.
type untold struct {
	notes   map[string][]byte // by key
	bytes   int
	dropped int // since all was stored
}

// add reports whether there was room for a note.
func (u *untold) add(key string, value []byte) bool {
	size := u.bytes + len(value)
	if old, again := u.notes[key]; again {
		size -= len(old)
	} else {
		size += len(key)
	}
	if size > mostUntold {
		u.dropped++
		return false
	}
	u.notes[key], u.bytes = value, size
	return true
}

// done takes back the room of notes that were being stored, and keeps those that were not stored if there is no newer one.
func (u *untold) done(stored, left map[string][]byte) {
	for key, value := range stored {
		u.bytes -= len(key) + len(value)
	}
	for key, value := range left {
		if _, newer := u.notes[key]; newer {
			u.bytes -= len(key) + len(value)
		} else {
			u.notes[key] = value
		}
	}
	if len(u.notes) == 0 {
		u.dropped = 0
	}
}

// Tell stores a value under a key for both nodes. It does not block: what cannot be stored is stored later, but not after a
// crash, and only up to mostUntold. key has parts of letters and digits with dots between them.
func (p *Pair) Tell(key string, value []byte) {
	p.mu.Lock()
	kept, first := p.untold.add(key, value), p.untold.dropped == 1
	p.mu.Unlock()
	if !kept && first {
		p.q.opts.Logger.Error("too much waits to be told to the other node of the pair, and what comes is dropped until the NATS server is reached; the other node may send these objects again, with the same UIDs")
	}
	nudge(p.full)
}

// tellAll stores what Tell is given, until ctx is done.
func (p *Pair) tellAll(ctx context.Context) {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.full:
		case <-again:
		}
		again = nil
		if err := p.tellNow(ctx); err != nil {
			again = time.After(fetchPause)
		}
	}
}

func (p *Pair) tellNow(ctx context.Context) error {
	p.mu.Lock()
	left, stored := p.untold.notes, map[string][]byte{}
	p.untold.notes = map[string][]byte{}
	p.mu.Unlock()
	if len(left) == 0 {
		return nil
	}
	kv, err := p.records(ctx)
	for key, value := range left {
		if err != nil {
			break
		}
		_, err = kv.Put(ctx, key, value)
		if errors.Is(err, nats.ErrMaxPayload) { // would never be stored
			p.q.opts.Logger.Error("a note for the other node of the pair is larger than the NATS server accepts, and is dropped; raise max_payload of the server", "bytes", len(value))
			err = nil
		}
		if err == nil {
			stored[key] = value
		}
	}
	for key := range stored {
		delete(left, key)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.untold.done(stored, left)
	return err
}
