package spool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// forgetful is a disk that remembers what was synced, and after a power cut some of what was not: writes whole, in part
// or not at all, in any order, by sectors; names as they were at the last sync of the folder, or as they are.
type forgetful struct {
	disk
	dir string // of the segments

	mu    sync.Mutex
	files map[uint64]*remembered // by inode
	names map[string]uint64      // synced
	cut   bool                   // nothing is acknowledged any more
	left  int                    // operations until the cut
}

type remembered struct {
	synced  []byte
	pending []pendingWrite
	keep    *os.File // so that no other file takes its inode
}

type pendingWrite struct {
	at int64
	p  []byte
}

var errCut = &os.PathError{Op: "power", Path: "cut", Err: syscall.EIO}

func newForgetful(dir string, operations int) *forgetful {
	d := &forgetful{disk: realDisk(), dir: filepath.Join(dir, "segments"), files: map[uint64]*remembered{}, names: map[string]uint64{}, left: operations}
	d.disk.write, d.disk.sync, d.disk.list = d.write, d.syncFile, d.syncNames
	return d
}

// of finds what is remembered of a file. d.mu is held.
func (d *forgetful) of(f *os.File) *remembered {
	info, err := f.Stat()
	if err != nil {
		panic(err)
	}
	inode := info.Sys().(*syscall.Stat_t).Ino
	if d.files[inode] == nil {
		keep, err := os.Open(f.Name())
		if err != nil { // renamed since
			keep, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		}
		if err != nil {
			panic(err)
		}
		d.files[inode] = &remembered{keep: keep}
	}
	return d.files[inode]
}

// spend counts an operation; d.mu is held.
func (d *forgetful) spend() error {
	if d.left--; d.left < 0 {
		d.cut = true
	}
	if d.cut {
		return errCut
	}
	return nil
}

func (d *forgetful) write(f *os.File, p []byte, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cut {
		return errCut
	}
	d.of(f).pending = append(d.of(f).pending, pendingWrite{off, append([]byte(nil), p...)})
	if err := d.spend(); err != nil { // it was on its way
		return err
	}
	_, err := f.WriteAt(p, off)
	return err
}

func (d *forgetful) syncFile(f *os.File) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.spend(); err != nil {
		return err
	}
	m := d.of(f)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	now := make([]byte, info.Size())
	if _, err := f.ReadAt(now, 0); err != nil && len(now) > 0 {
		return err
	}
	m.synced, m.pending = now, nil
	return nil
}

func (d *forgetful) syncNames(dir string) error {
	if dir != d.dir {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.spend(); err != nil {
		return err
	}
	d.names = d.current()
	return nil
}

func (d *forgetful) current() map[string]uint64 {
	names := map[string]uint64{}
	entries, _ := os.ReadDir(d.dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			names[e.Name()] = info.Sys().(*syscall.Stat_t).Ino
		}
	}
	return names
}

// image writes to dir what the disk holds after the cut.
func (d *forgetful) image(t *testing.T, dir string, rng *rand.Rand) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut = true
	now := d.current()
	names := map[string]uint64{}
	for name, inode := range d.names {
		if now[name] == inode || rng.IntN(2) == 0 { // else it was renamed or deleted, and that may have reached the disk
			names[name] = inode
		}
	}
	taken := map[uint64]bool{}
	for _, inode := range names {
		taken[inode] = true
	}
	for name, inode := range now {
		if _, there := names[name]; !there && !taken[inode] && (d.synced(inode) || rng.IntN(2) == 0) {
			names[name] = inode
		}
	}
	order := rng.IntN(4) // none, all, some in order, some in any order
	for name, inode := range names {
		m := d.files[inode]
		if m == nil {
			m = &remembered{}
		}
		b := append([]byte(nil), m.synced...)
		upTo := len(m.pending)
		if order == 2 && upTo > 0 {
			upTo = rng.IntN(upTo + 1)
		}
		for i, w := range m.pending[:upTo] {
			for p, at := w.p, w.at; len(p) > 0; {
				n := min(int(sectorLen-at%sectorLen), len(p))
				if order == 1 || order == 2 && (i < upTo-1 || rng.IntN(2) == 0) || order == 3 && rng.IntN(2) == 0 {
					if grow := at + int64(n) - int64(len(b)); grow > 0 {
						b = append(b, make([]byte, grow)...)
					}
					copy(b[at:], p[:n])
				}
				p, at = p[n:], at+int64(n)
			}
		}
		if m.keep != nil && rng.IntN(2) == 0 { // a truncation that reached the disk
			if info, err := m.keep.Stat(); err == nil && info.Size() < int64(len(b)) {
				b = b[:info.Size()]
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "segments", name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range d.files {
		m.keep.Close()
	}
}

// synced reports whether a file has its name for sure: it had another at the last sync of the folder that is gone.
func (d *forgetful) synced(inode uint64) bool {
	for _, known := range d.names {
		if known == inode {
			return true
		}
	}
	return false
}

// TestPowerCuts stores, repeats, aborts and removes on three associations at once until the power goes, and starts on what
// the disk kept: every acknowledged object is there, byte for byte, and none that was removed.
func TestPowerCuts(t *testing.T) {
	for seed := range uint64(50) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 3))
			dir, after := quickDir(t), quickDir(t)
			d := newForgetful(dir, 20+rng.IntN(150))
			s, err := openOn(t.Context(), Options{Dir: dir, ReserveBytes: -1, SegmentBytes: 300_000}, d.disk)
			if err != nil {
				t.Fatal(err)
			}
			s.spareSize = 128 << 10
			for range rng.IntN(4) {
				s.prepare(t.Context()) // the cut may come here
			}
			var mu sync.Mutex
			acknowledged := map[string][]byte{}
			removed := map[string]bool{} // studies whose removal was confirmed
			var senders sync.WaitGroup
			for k := range 3 {
				own := rand.New(rand.NewPCG(seed, uint64(k)))
				senders.Go(func() {
					study := fmt.Sprintf("1.9.%d", k+1)
					sess := s.Intake()
					for i := 0; ; i++ {
						d.mu.Lock()
						over := d.cut
						d.mu.Unlock()
						if over || i > 200 {
							break
						}
						if own.IntN(8) == 0 {
							sess.Close()
							sess = s.Intake()
						}
						id := fmt.Sprintf("1.%d.%d", k+1, i)
						if own.IntN(6) == 0 {
							id = fmt.Sprintf("1.%d.%d", k+1, own.IntN(i+1)) // perhaps a repetition
						}
						seq := 0
						fmt.Sscanf(id, fmt.Sprintf("1.%d.%%d", k+1), &seq)
						data := object(t, study, id, []int{300, 9000, 150_000}[seq%3])
						w, err := sess.Create("1.2.840.10008.5.1.4.1.1.2", id, "1.2.840.10008.1.2.1", "CT1")
						if err != nil {
							continue
						}
						if _, err := w.Write(data); err != nil || own.IntN(10) == 0 {
							w.Abort()
							continue
						}
						mu.Lock()
						delete(removed, id) // stored again: it may be there even where the cut takes the acknowledgement
						mu.Unlock()
						if _, _, err := w.Commit(); err == nil {
							mu.Lock()
							acknowledged[id] = data
							mu.Unlock()
						}
						if k == 2 && own.IntN(15) == 0 {
							mu.Lock()
							gone, err := s.RemoveStudy(study, time.Now().Add(time.Hour))
							for id := range acknowledged {
								if strings.HasPrefix(id, "1.3.") { // whether it is still there is not known where the cut came in between
									if removed[id] = gone && err == nil; gone || err != nil {
										delete(acknowledged, id)
									}
								}
							}
							mu.Unlock()
						}
					}
				})
			}
			senders.Wait()
			d.image(t, after, rng)
			s.Close()

			for _, when := range []string{"first start", "second start"} {
				s = again(t, after)
				scrub(t, s)
				for id, data := range acknowledged {
					found := s.Find(id)
					if len(found) != 1 {
						t.Fatalf("%s: %s was acknowledged and is there %d times, damaged %v", when, id, len(found), s.Damaged())
					}
					check(t, s, found[0], data)
				}
				for id, gone := range removed {
					if gone && len(s.Find(id)) > 0 {
						t.Errorf("%s: %s was removed and is back", when, id)
					}
				}
				s.Close()
			}
		})
	}
}
