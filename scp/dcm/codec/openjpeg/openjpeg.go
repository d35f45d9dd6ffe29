// Package openjpeg decodes JPEG 2000 and HTJ2K with opj_decompress, the command of OpenJPEG, in a process of its own.
//
// OpenJPEG is C code that reads untrusted data. It therefore runs under prlimit (util-linux) with limited memory, CPU time and
// file size, without the environment of this process and in an empty folder, and is killed at a deadline. Its failure costs
// only one frame.
package openjpeg

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Limits of one decoding process.
const (
	timeout     = time.Minute
	cpuSeconds  = 30
	memoryBytes = 1 << 30
	killGrace   = time.Second // between the kill and closing its pipes
)

// ErrMissing: the commands are not installed or cannot be used.
var ErrMissing = errors.New("opj_decompress is not usable; install libopenjp2-tools and util-linux")

// Tool is an installed opj_decompress. It is safe for concurrent use.
type Tool struct {
	decompress, prlimit string // paths
	version             [2]int
}

// Find finds opj_decompress and prlimit on the PATH and checks the version. Errors wrap ErrMissing, or are those of ctx.
func Find(ctx context.Context) (*Tool, error) {
	t := &Tool{}
	for name, path := range map[string]*string{"opj_decompress": &t.decompress, "prlimit": &t.prlimit} {
		p, err := exec.LookPath(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMissing, err)
		}
		if *path, err = filepath.Abs(p); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMissing, err)
		}
	}
	dir, err := os.MkdirTemp("", "ichor-j2k-")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	defer os.RemoveAll(dir)
	said, _ := t.run(ctx, dir, 0, "-h") // exits with 1
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m := regexp.MustCompile(`openjp2 library v(\d+)\.(\d+)`).FindStringSubmatch(said)
	if m == nil {
		return nil, fmt.Errorf("%w: %s -h does not print its version", ErrMissing, t.decompress)
	}
	for i := range t.version {
		if t.version[i], err = strconv.Atoi(m[1+i]); err != nil {
			return nil, fmt.Errorf("%w: version %s", ErrMissing, m[1+i])
		}
	}
	return t, nil
}

// HTJ2K reports whether this OpenJPEG decodes High-Throughput JPEG 2000, which needs version 2.5.
func (t *Tool) HTJ2K() bool { return t.version[0] > 2 || t.version[0] == 2 && t.version[1] >= 5 }

// Decode returns the samples of a frame of the given size and their precision. The samples of a pixel are adjacent; signed ones
// are two's complement with this many bits. src is a code stream or a JP2 file. If the stream has another size, it returns an
// error before it runs the command.
func (t *Tool) Decode(ctx context.Context, src []byte, width, height, components int) (samples []uint16, precision int, err error) {
	src = codeStream(src)
	h, err := header(src)
	if err != nil {
		return nil, 0, err
	}
	if h.width != width || h.height != height || h.components != components {
		return nil, 0, fmt.Errorf("JPEG 2000 frame of %d x %d pixels with %d samples, but the image has %d x %d with %d",
			h.width, h.height, h.components, width, height, components)
	}
	dir, err := os.MkdirTemp("", "ichor-j2k-")
	if err != nil {
		return nil, 0, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "in.j2k"), src, 0o600); err != nil {
		return nil, 0, err
	}
	cell := 1
	if h.bits > 8 {
		cell = 2
	}
	want := width * height * components * cell
	// rawl: planes of little-endian cells of 1 or 2 bytes, without a header.
	said, err := t.run(ctx, dir, want, "-i", "in.j2k", "-o", "out.rawl")
	if err != nil {
		return nil, 0, fmt.Errorf("opj_decompress: %w%s", err, reason(said))
	}
	info, err := os.Lstat(filepath.Join(dir, "out.rawl"))
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(want) {
		return nil, 0, fmt.Errorf("opj_decompress did not write %d bytes%s", want, reason(said))
	}
	raw, err := os.ReadFile(filepath.Join(dir, "out.rawl"))
	if err != nil {
		return nil, 0, err
	}
	return interleave(raw, width*height, components, cell, h.bits), h.bits, nil
}

// interleave makes the samples of a pixel adjacent and removes the sign extension of signed ones.
func interleave(raw []byte, pixels, components, cell, bits int) []uint16 {
	out := make([]uint16, pixels*components)
	mask := uint16(1<<bits - 1)
	for c := range components {
		plane := raw[c*pixels*cell:]
		for i := range pixels {
			v := uint16(plane[i*cell])
			if cell == 2 {
				v = binary.LittleEndian.Uint16(plane[2*i:])
			}
			out[i*components+c] = v & mask
		}
	}
	return out
}

// run runs opj_decompress in dir with the limits. It may write files of size bytes. run returns its output.
func (t *Tool) run(ctx context.Context, dir string, size int, args ...string) (said string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	limits := []string{
		"--as=" + strconv.Itoa(memoryBytes), "--cpu=" + strconv.Itoa(cpuSeconds), "--fsize=" + strconv.Itoa(size),
		"--nofile=16", "--core=0", "--", t.decompress,
	}
	cmd := exec.CommandContext(ctx, t.prlimit, append(limits, args...)...)
	cmd.Dir, cmd.Env = dir, []string{"LC_ALL=C"}
	out := &tail{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killGrace
	err = cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return out.String(), err
}

// tail stores the first bytes written to it.
type tail struct{ bytes.Buffer }

func (t *tail) Write(b []byte) (int, error) {
	const most = 4 << 10
	t.Buffer.Write(b[:min(len(b), most-min(t.Len(), most))])
	return len(b), nil
}

// reason returns the first error message in the output of the command.
func reason(said string) string {
	for line := range strings.Lines(said) {
		if strings.Contains(line, "ERROR") {
			return ": " + strings.TrimSpace(line)
		}
	}
	return ""
}
