package events

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// maxLine bounds one entry when it is read.
const maxLine = 1 << 20

// scanFile calls each with every line of a file, without its newline. A last line without newline is being written, and is
// left out.
func scanFile(path string, each func(line []byte) error) error {
	_, err := scanFrom(path, 0, each)
	return err
}

// scanFrom is scanFile from an offset on. It returns the offset after the last line that each has taken.
func scanFrom(path string, offset int64, each func(line []byte) error) (end int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return offset, err
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return offset, err
	}
	r := bufio.NewReaderSize(f, 64<<10)
	for number := 1; ; number++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return offset, nil
		}
		if err != nil {
			return offset, err
		}
		if len(line) > maxLine {
			return offset, fmt.Errorf("%s, line %d: %d bytes long", filepath.Base(path), number, len(line))
		}
		if err := each(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return offset, fmt.Errorf("%s, line %d: %w", filepath.Base(path), number, err)
		}
		offset += int64(len(line))
	}
}

// Follower reads a log again and again, each time from where it stopped. The zero value of the fields below Dir begins after entry
// After.
type Follower struct {
	Dir   string
	After uint64 // the last entry that was taken

	file   string
	offset int64 // in file
}

// Read calls each with the entries that it has not taken yet. An entry whose call fails comes again.
func (f *Follower) Read(each func(Event) error) error {
	names, err := files(f.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name < f.file {
			continue
		}
		if name != f.file {
			f.file, f.offset = name, 0
		}
		f.offset, err = scanFrom(filepath.Join(f.Dir, name), f.offset, func(line []byte) error {
			var e Event
			if err := json.Unmarshal(line, &e); err != nil {
				return err
			}
			if e.Number <= f.After {
				return nil
			}
			if err := each(e); err != nil {
				return err
			}
			f.After = e.Number
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Read calls each with every entry after number, the oldest first. It may run beside the node that writes.
func Read(dir string, after uint64, each func(Event) error) error {
	f := Follower{Dir: dir, After: after}
	return f.Read(each)
}

// Proof is what Verify found.
type Proof struct {
	Entries int       `json:"entries"`
	First   uint64    `json:"first"`
	Since   time.Time `json:"since,omitzero"` // of the first
	Last    uint64    `json:"last"`
	Digest  string    `json:"digest"`            // of the last line: compare it with one that was kept elsewhere
	Missing string    `json:"missing,omitempty"` // what the log says about an earlier one that is not here
}

// Verify proves that no line was changed, removed or added since it was written, and returns number and digest of the last
// line. The error names the first line that does not fit.
func Verify(dir string) (p Proof, err error) {
	names, err := files(dir)
	if err != nil {
		return p, err
	}
	number, digest, err := headOf(dir) // before the lines, because a node may be writing
	if err != nil {
		return p, err
	}
	begun := "" // digest before the first line that is left
	pruned := map[string]bool{}
	for _, name := range names {
		err := scanFile(filepath.Join(dir, name), func(line []byte) error {
			var e Event
			d := json.NewDecoder(bytes.NewReader(line))
			d.DisallowUnknownFields()
			if err := d.Decode(&e); err != nil {
				return fmt.Errorf("not an entry: %w", err)
			}
			switch {
			case p.Entries == 0:
				p.Since = e.At
				p.First, begun = e.Number, fmt.Sprintf("%d %s", e.Number-1, e.Before)
			case e.Number != p.Last+1:
				return fmt.Errorf("entry %d follows entry %d: entries are missing or were added", e.Number, p.Last)
			case e.Before != p.Digest:
				return fmt.Errorf("entry %d does not hold the digest of entry %d: one of them was changed", e.Number, p.Last)
			}
			switch e.Kind {
			case Pruned:
				pruned[e.Detail] = true
			case Missing:
				p.Missing = e.Detail
			}
			p.Entries++
			p.Last, p.Digest = e.Number, digestOf(line)
			if p.Last == number && p.Digest != digest {
				return fmt.Errorf("entry %d is not the one that was written: its digest is %s, not %s", number, p.Digest, digest)
			}
			return nil
		})
		if err != nil {
			return p, err
		}
	}
	if p.Entries == 0 && number == 0 {
		return p, nil
	}
	if p.Entries > 0 && p.First != 1 && !pruned[begun] {
		return p, fmt.Errorf("the log begins with entry %d, and no entry says that older ones were removed after their time", p.First)
	}
	if number > p.Last {
		return p, fmt.Errorf("the log ends with entry %d, but the last one written was %d: the end was removed", p.Last, number)
	}
	return p, nil
}

// headOf reads number and digest of the last line that was written, 0 if the log is new. A crash may leave it behind, never ahead.
func headOf(dir string) (number uint64, digest string, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "head"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "", nil
	}
	if err == nil {
		_, err = fmt.Sscan(string(text), &number, &digest)
	}
	if err != nil {
		return 0, "", fmt.Errorf("head of the log: %w", err)
	}
	return number, digest, nil
}
