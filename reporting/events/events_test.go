package events

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a time that a test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(month time.Month) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = time.Date(2026, month, 3, 0, 0, 0, 0, time.UTC)
}

func write(t *testing.T, dir string, c *clock, list ...Event) {
	t.Helper()
	l, err := Open(Options{Dir: dir, Keep: 183 * 24 * time.Hour, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		l.Append(e)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestVerify: a log is proven over several runs and months, and every change of it is found.
func TestVerify(t *testing.T) {
	fresh := func(t *testing.T) string {
		dir := t.TempDir()
		c := &clock{}
		for _, month := range []time.Month{1, 2} {
			c.set(month)
			write(t, dir, c, Event{Kind: Started}, Event{Kind: Received, Case: "a1"}, Event{Kind: Looked, User: "anna"})
		}
		return dir
	}
	dir := fresh(t)
	p, err := Verify(dir)
	if err != nil || p.Entries != 6 || p.Last != 6 || len(p.Digest) != 64 {
		t.Fatalf("%+v, %v", p, err)
	}
	var seen []uint64
	if err := Read(dir, 3, func(e Event) error { seen = append(seen, e.Number); return nil }); err != nil || len(seen) != 3 || seen[0] != 4 {
		t.Errorf("entries after 3: %v, %v", seen, err)
	}
	first, second := "2026-01.jsonl", "2026-02.jsonl"
	for name, spoil := range map[string]func(dir string) error{
		"a word changed":     edit(first, "anna", "otto"),
		"the last changed":   edit(second, "anna", "otto"),
		"a line removed":     lines(first, func(l [][]byte) [][]byte { return append(l[:1:1], l[2:]...) }),
		"the end removed":    lines(second, func(l [][]byte) [][]byte { return l[:2] }),
		"a line twice":       lines(first, func(l [][]byte) [][]byte { return append(l, l[2]) }),
		"lines exchanged":    lines(first, func(l [][]byte) [][]byte { return [][]byte{l[1], l[0], l[2]} }),
		"a key added":        edit(first, `"kind"`, `"x":1,"kind"`),
		"the beginning gone": func(dir string) error { return os.Remove(filepath.Join(dir, first)) },
	} {
		dir := fresh(t)
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if p, err := Verify(dir); err == nil {
			t.Errorf("%s: not found, %+v", name, p)
		}
	}
}

func edit(name, old, to string) func(string) error {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, bytes.Replace(text, []byte(old), []byte(to), 1), 0o640)
	}
}

func lines(name string, change func([][]byte) [][]byte) func(string) error {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		list := change(bytes.SplitAfter(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")))
		text = bytes.Join(list, nil)
		if !bytes.HasSuffix(text, []byte("\n")) {
			text = append(text, '\n')
		}
		return os.WriteFile(path, text, 0o640)
	}
}

// TestCrash: a line that a crash cut off is removed, said, and the chain goes on.
func TestCrash(t *testing.T) {
	dir, c := t.TempDir(), &clock{}
	c.set(1)
	write(t, dir, c, Event{Kind: Started})
	f, err := os.OpenFile(filepath.Join(dir, "2026-01.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"n":2,"bef`); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	write(t, dir, c, Event{Kind: Stopped})
	var kinds []Kind
	if err := Read(dir, 0, func(e Event) error { kinds = append(kinds, e.Kind); return nil }); err != nil || len(kinds) != 3 || kinds[1] != Damaged {
		t.Errorf("%v, %v", kinds, err)
	}
	if _, err := Verify(dir); err != nil {
		t.Error(err)
	}
}

// TestPrune: entries are kept for their time, then whole files go, and the proof still holds.
func TestPrune(t *testing.T) {
	dir, c := t.TempDir(), &clock{}
	for _, month := range []time.Month{1, 5, 7} {
		c.set(month)
		write(t, dir, c, Event{Kind: Received, Case: month.String()})
	}
	l, err := Open(Options{Dir: dir, Keep: 183 * 24 * time.Hour, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Prune(); err != nil {
		t.Fatal(err)
	}
	if names, _ := files(dir); len(names) != 3 {
		t.Errorf("removed before its time, left are %v", names)
	}
	c.set(8)
	if err := l.Prune(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if names, _ := files(dir); len(names) != 3 || names[0] != "2026-05.jsonl" {
		t.Errorf("left are %v", names)
	}
	if p, err := Verify(dir); err != nil || p.First != 2 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestNoDisk: entries wait while the log cannot be written, and nothing blocks.
func TestNoDisk(t *testing.T) {
	parent, c := t.TempDir(), &clock{}
	c.set(1)
	dir := filepath.Join(parent, "events")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir, Now: c.now}); err == nil || !strings.Contains(err.Error(), "event log") {
		t.Fatalf("a file as folder: %v", err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	l, err := Open(Options{Dir: dir, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.Append(Event{Kind: Started})
	for deadline := time.Now().Add(10 * time.Second); l.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no error")
		}
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil { // tries again within a second
		t.Error(err)
	}
	if p, err := Verify(dir); err != nil || p.Entries != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}
