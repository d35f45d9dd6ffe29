// Package events keeps the event log of a node: what was received, analysed, delivered, refused and changed, and who looked.
//
// The log is append-only and kept apart from studies and cases, for at least Options.Keep:
//
//	<dir>/2026-11.jsonl   one JSON object a line, one file a month
//	<dir>/head            number and digest of the last line
//
// Each line holds the SHA-256 of the line before, across files, so a line that was changed, removed or added is found by
// Verify. When an old file is removed, an entry of kind Pruned keeps the number and digest of its last line. The digest of the
// newest line is also in the service's log once a day, so that a log that was rewritten as a whole is found as well.
//
// The log names studies and patients, as audit messages need it (PS3.15 section A.5). It is
// readable only for the service and its group.
package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind of an event.
type Kind string

const (
	Started     Kind = "started"     // the node; Detail: version, configuration and its digest
	Stopped     Kind = "stopped"     // the node
	Association Kind = "association" // an association that brought objects
	Received    Kind = "received"    // a study is complete
	Analysed    Kind = "analysed"    // with Bundle and Settings; Outcome says what became of it
	Delivered   Kind = "delivered"   // the results of a case, to one destination
	GaveUp      Kind = "gave up"     // a delivery or an analysis
	Refused     Kind = "refused"     // an association, a token
	Changed     Kind = "changed"     // by an order of an operator, or in the configuration
	Removed     Kind = "removed"     // the objects of a study, after their retention time
	Looked      Kind = "looked"      // someone saw a page or a case
	Lease       Kind = "lease"       // a node of a pair began or ceased to send results; Outcome says why
	Canary      Kind = "canary"      // a self-test
	Pruned      Kind = "pruned"      // entries older than the log is kept
	Damaged     Kind = "damaged"     // the last line was cut off by a crash, or entries were lost
	Missing     Kind = "missing"     // an earlier log of this node; Detail says since when it was kept
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{Started, Stopped, Association, Received, Analysed, Delivered, GaveUp, Refused, Changed, Removed, Looked, Lease, Canary, Pruned, Damaged, Missing}
}

// Event is one entry.
type Event struct {
	Number uint64    `json:"n"`
	Before string    `json:"before"` // SHA-256 of the line before, in hexadecimal; empty for the first
	At     time.Time `json:"at"`
	Kind   Kind      `json:"kind"`

	Case             string `json:"case,omitempty"`
	StudyInstanceUID string `json:"study,omitempty"`
	PatientID        string `json:"patient_id,omitempty"`
	Association      uint64 `json:"assoc,omitempty"`
	Peer             string `json:"peer,omitempty"`    // AE title
	Address          string `json:"address,omitempty"` // of the peer or the user
	User             string `json:"user,omitempty"`
	Destination      string `json:"destination,omitempty"`
	Objects          int    `json:"objects,omitempty"`
	Bundle           string `json:"bundle,omitempty"` // name, version and digest
	Settings         string `json:"settings,omitempty"`
	Outcome          string `json:"outcome,omitempty"`
	Detail           string `json:"detail,omitempty"`
}

// Options configure a Log.
type Options struct {
	Dir    string
	Keep   time.Duration
	Logger *slog.Logger     // nil: no logging
	Now    func() time.Time // time.Now if nil
}

// Log is an open event log. Its methods are safe for concurrent use; one process writes.
type Log struct {
	o     Options
	queue chan Event
	done  chan struct{} // closed when the writer has ended
	quit  chan struct{} // closed when it must not try again

	mu      sync.Mutex // guards the fields below
	err     error      // of the last write
	last    uint64
	digest  string
	lost    int // entries dropped because the queue was full
	closed  bool
	changed chan struct{} // closed with each write
}

// closeTime is how long Close waits for a disk that cannot be written.
const closeTime = 3 * time.Second

// waiting bounds the entries that are not written yet.
const waiting = 4096

// Open continues the log in o.Dir, and creates it if there is none. A disk that cannot be written is no error here: entries
// wait, and Err says why.
func Open(o Options) (*Log, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Log{o: o, queue: make(chan Event, waiting), done: make(chan struct{}), quit: make(chan struct{}), changed: make(chan struct{})}
	cut, err := l.resume()
	if err != nil {
		return nil, fmt.Errorf("event log %s: %w; move the folder away to begin a new log", o.Dir, err)
	}
	go l.write()
	if cut {
		l.Append(Event{Kind: Damaged, Detail: "the last line was cut off and is removed"})
	}
	return l, nil
}

// resume finds the last line, and removes one that a crash cut off.
func (l *Log) resume() (cut bool, err error) {
	names, err := files(l.o.Dir)
	if err != nil {
		return false, err
	}
	for _, name := range slices.Backward(names) {
		path := filepath.Join(l.o.Dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			return false, err
		}
		whole := text[:bytes.LastIndexByte(text, '\n')+1]
		if len(whole) < len(text) {
			cut = true
			if err := os.Truncate(path, int64(len(whole))); err != nil {
				return cut, err
			}
		}
		if len(whole) == 0 {
			continue
		}
		line := whole[bytes.LastIndexByte(whole[:len(whole)-1], '\n')+1:]
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return cut, fmt.Errorf("last line of %s: %w", name, err)
		}
		l.last, l.digest = e.Number, digestOf(line)
		return cut, nil
	}
	return cut, nil
}

// files lists the files of a log, the oldest first.
func files(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".jsonl") {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// digestOf is that of a line without its newline.
func digestOf(line []byte) string {
	sum := sha256.Sum256(bytes.TrimSuffix(line, []byte("\n")))
	return hex.EncodeToString(sum[:])
}

// Append adds an entry; number, digest and time are filled in. It never blocks.
func (l *Log) Append(e Event) {
	e.At = l.o.Now().UTC()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	select {
	case l.queue <- e:
	default:
		l.lost++
	}
}

// write writes what is queued, until Close.
func (l *Log) write() {
	defer close(l.done)
	for e := range l.queue {
		batch := []Event{e}
		for more := true; more && len(batch) < 256; {
			select {
			case e, ok := <-l.queue:
				if more = ok; ok {
					batch = append(batch, e)
				}
			default:
				more = false
			}
		}
		l.mu.Lock()
		if l.lost > 0 {
			batch = append(batch, Event{Kind: Damaged, At: l.o.Now().UTC(), Detail: fmt.Sprintf("%d entries were lost while the log could not be written", l.lost)})
			l.lost = 0
		}
		l.mu.Unlock()
		for wait := time.Second; ; wait = min(2*wait, time.Minute) {
			err := l.put(batch)
			l.mu.Lock()
			first := err != nil && l.err == nil
			l.err = err
			l.mu.Unlock()
			if err == nil {
				break
			}
			if first {
				l.o.Logger.Error("event log cannot be written; entries wait", "err", err)
			}
			select {
			case <-l.quit:
				return
			case <-time.After(wait):
			}
		}
	}
}

// put appends entries durably, all or none.
func (l *Log) put(batch []Event) error {
	if err := os.MkdirAll(l.o.Dir, 0o750); err != nil {
		return err
	}
	number, before := l.last, l.digest
	var text bytes.Buffer
	for _, e := range batch {
		number++
		e.Number, e.Before = number, before
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		before = digestOf(line)
		text.Write(append(line, '\n'))
	}
	// The month of the first entry that is new; the file of a clock set back is never before the last one.
	name := batch[0].At.Format("2006-01") + ".jsonl"
	names, err := files(l.o.Dir)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		name = max(name, names[len(names)-1])
	}
	f, err := os.OpenFile(filepath.Join(l.o.Dir, name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.Write(text.Bytes())
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil && info != nil {
		err = errors.Join(err, f.Truncate(info.Size())) // a part of the batch must not stay
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	l.mu.Lock()
	l.last, l.digest = number, before
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	return os.WriteFile(filepath.Join(l.o.Dir, "head"), fmt.Appendf(nil, "%d %s\n", number, before), 0o640)
}

// Err returns why entries cannot be written, nil if they can.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Head returns number and digest of the last line.
func (l *Log) Head() (number uint64, digest string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, l.digest
}

// Changed returns a channel that is closed when an entry is written.
func (l *Log) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Close writes what is queued. Entries that are appended later are dropped. A second Close does nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	again := l.closed
	l.closed = true
	if !again {
		close(l.queue)
	}
	l.mu.Unlock()
	if again {
		return nil
	}
	select {
	case <-l.done:
	case <-time.After(closeTime): // the disk cannot be written
		close(l.quit)
		<-l.done
	}
	return l.Err()
}

// Prune removes files whose last entry is older than Keep, and records that.
func (l *Log) Prune() error {
	names, err := files(l.o.Dir)
	if err != nil || len(names) < 2 {
		return err
	}
	for _, name := range names[:len(names)-1] { // never the file in use
		var last Event
		var digest string
		path := filepath.Join(l.o.Dir, name)
		err := scanFile(path, func(line []byte) error {
			digest = digestOf(line)
			last = Event{}
			return json.Unmarshal(line, &last)
		})
		if err != nil {
			return err
		}
		if l.o.Now().Sub(last.At) < l.o.Keep {
			return nil
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		l.Append(Event{Kind: Pruned, Detail: fmt.Sprintf("%d %s", last.Number, digest)})
	}
	return nil
}
