package openjpeg

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func find(t testing.TB) *Tool {
	t.Helper()
	tool, err := Find(t.Context())
	if err != nil {
		t.Skip(err)
	}
	return tool
}

// samplesOf has jumps of every size.
func samplesOf(n, bits int) []uint16 {
	out := make([]uint16, n)
	v := uint32(1)
	for i := range out {
		v = v*1664525 + 1013904223
		out[i] = uint16(v>>16) >> (16 - bits)
	}
	return out
}

// TestDecode has opj_compress encode images of several kinds, in tiles too, and decodes them.
func TestDecode(t *testing.T) {
	tool := find(t)
	compress, err := exec.LookPath("opj_compress")
	if err != nil {
		t.Skip("opj_compress is missing: install libopenjp2-tools")
	}
	for _, c := range []struct {
		name          string
		width, height int
		format, bits  string
		args          []string
	}{
		{"16 bit", 33, 21, "1,16,u", "16", nil},
		{"16 bit signed", 33, 21, "1,16,s", "16", nil},
		{"8 bit", 31, 17, "1,8,u", "8", nil},
		{"tiles", 70, 50, "1,16,u", "16", []string{"-t", "32,32", "-p", "RPCL"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			bits := 16
			var raw []byte
			if c.bits == "8" {
				bits = 8
			}
			want := samplesOf(c.width*c.height, bits)
			for _, v := range want {
				if bits == 8 {
					raw = append(raw, byte(v))
				} else {
					raw = binary.LittleEndian.AppendUint16(raw, v)
				}
			}
			in, out := filepath.Join(dir, "a.rawl"), filepath.Join(dir, "a.j2k")
			if err := os.WriteFile(in, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			size := strings.Join([]string{itoa(c.width), itoa(c.height), c.format}, ",")
			if said, err := exec.CommandContext(t.Context(), compress, append([]string{"-i", in, "-o", out, "-F", size, "-n", "3"}, c.args...)...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			src, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			got, precision, err := tool.Decode(t.Context(), src, c.width, c.height, 1)
			if err != nil || precision != bits || !slices.Equal(got, want) {
				t.Fatalf("%d bits, %v", precision, err)
			}
			if got, _, err := tool.Decode(t.Context(), jp2(src), c.width, c.height, 1); err != nil || !slices.Equal(got, want) {
				t.Errorf("in the boxes of a JP2 file: %v", err)
			}
			if _, _, err := tool.Decode(t.Context(), src, c.width+1, c.height, 1); err == nil {
				t.Error("no error for another size")
			}
			if _, _, err := tool.Decode(t.Context(), src[:60], c.width, c.height, 1); err == nil {
				t.Error("no error for a cut off stream")
			}
		})
	}
}

// jp2 puts a code stream into the boxes of a JP2 file.
func jp2(stream []byte) []byte {
	box := func(kind string, content ...byte) []byte {
		return slices.Concat(binary.BigEndian.AppendUint32(nil, uint32(8+len(content))), []byte(kind), content)
	}
	return slices.Concat(box("jP  ", 0x0D, 0x0A, 0x87, 0x0A), box("ftyp", []byte("jp2 \x00\x00\x00\x00jp2 ")...), box("jp2h", box("ihdr", make([]byte, 14)...)...),
		box("jp2c", stream...))
}

func TestCodeStream(t *testing.T) {
	t.Parallel()
	whole := jp2(stream())
	toEnd := slices.Concat(whole[:len(whole)-len(stream())-8], []byte{0, 0, 0, 0}, []byte("jp2c"), stream())
	long := slices.Concat(whole[:len(whole)-len(stream())-8], []byte{0, 0, 0, 1}, []byte("jp2c"), binary.BigEndian.AppendUint64(nil, uint64(16+len(stream()))), stream())
	for name, b := range map[string][]byte{"bare": stream(), "JP2": whole, "box up to the end": toEnd, "box of 64-bit length": long} {
		if got := codeStream(b); !bytes.Equal(got, stream()) {
			t.Errorf("%s: % x", name, got)
		}
	}
	for name, b := range map[string][]byte{"empty": nil, "no code stream": whole[:12], "box beyond the end": whole[:40], "box of no length": append(whole[:12:12], 0, 0, 0, 3, 'f', 't', 'y', 'p')} {
		if got := codeStream(b); !bytes.Equal(got, b) {
			t.Errorf("%s: % x", name, got)
		}
	}
}

func itoa(n int) string { return string(rune('0'+n/10)) + string(rune('0'+n%10)) }

// stub is a Tool whose decoder is a shell script.
func stub(t *testing.T, script string) *Tool {
	t.Helper()
	prlimit, err := exec.LookPath("prlimit")
	if err != nil {
		t.Skip("prlimit is missing: install util-linux")
	}
	path := filepath.Join(t.TempDir(), "opj_decompress")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return &Tool{decompress: path, prlimit: prlimit}
}

// stream is a header of 5 x 4 pixels of 16 bits.
func stream() []byte {
	b := []byte{0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0}
	for _, v := range []uint32{5, 4, 0, 0, 5, 4, 0, 0} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return append(b, 0, 1, 15, 1, 1)
}

// TestLimits has decoders that misbehave.
func TestLimits(t *testing.T) {
	for _, c := range []struct{ name, script string }{
		{"writes too much", "head -c 41 /dev/zero > out.rawl"},
		{"writes too little", "head -c 39 /dev/zero > out.rawl"},
		{"writes nothing", "exit 0"},
		{"fails", "echo '[ERROR] bad stream'; exit 1"},
		{"crashes", "kill -SEGV $$"},
		{"talks without end", "head -c 9999999 /dev/zero; exit 1"},
		{"a link for a result", "ln -s /etc/hostname out.rawl"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := stub(t, c.script).Decode(t.Context(), stream(), 5, 4, 1)
			if err == nil {
				t.Fatalf("no error, %d samples", len(got))
			}
			if len(err.Error()) > 300 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
	good := "head -c 40 /dev/zero > out.rawl\n"
	if got, bits, err := stub(t, good).Decode(t.Context(), stream(), 5, 4, 1); err != nil || len(got) != 20 || bits != 16 {
		t.Errorf("%d samples of %d bits, %v", len(got), bits, err)
	}
	// The limits hold inside, and nothing of our environment is there.
	t.Setenv("ICHOR_SECRET", "1")
	inside := `[ "$(ulimit -v)" = 1048576 ] && [ "$(ulimit -t)" = 30 ] && [ "$(ulimit -n)" = 16 ] && [ "$(ulimit -c)" = 0 ] && [ -z "$ICHOR_SECRET" ] || exit 1` + "\n"
	if _, _, err := stub(t, inside+good).Decode(t.Context(), stream(), 5, 4, 1); err != nil {
		t.Error(err)
	}
}

// TestKilled: a decoder that does not end is killed with its children when the context ends, and leaves no files.
func TestKilled(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	fifo := filepath.Join(t.TempDir(), "started")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	tool := stub(t, "sleep 1000 & echo > "+fifo+"; wait")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, _, err := tool.Decode(ctx, stream(), 5, 4, 1)
		done <- err
	}()
	if _, err := os.ReadFile(fifo); err != nil { // until the script has written and closed it
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("%d folders left, %v", len(left), err)
	}
}

func TestFind(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Find(t.Context()); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
	for _, c := range []struct {
		version [2]int
		want    bool
	}{{[2]int{2, 4}, false}, {[2]int{2, 5}, true}, {[2]int{3, 0}, true}, {[2]int{1, 9}, false}} {
		if got := (&Tool{version: c.version}).HTJ2K(); got != c.want {
			t.Errorf("%v: %v", c.version, got)
		}
	}
}

func TestHeader(t *testing.T) {
	good := stream()
	if h, err := header(good); err != nil || h != (siz{5, 4, 1, 16}) {
		t.Fatal(h, err)
	}
	for at, v := range map[int]byte{0: 0, 3: 0x52, 8: 1, 11: 0, 15: 0, 16: 1, 27: 0, 41: 5, 42: 16, 43: 2, 44: 2} {
		b := bytes.Clone(good)
		b[at] = v
		if h, err := header(b); err == nil {
			t.Errorf("byte %d as %d: %+v", at, v, h)
		}
	}
	tiny := bytes.Clone(good) // one pixel a tile is as many tiles as pixels
	binary.BigEndian.PutUint32(tiny[8:], 60000)
	binary.BigEndian.PutUint32(tiny[24:], 1)
	if _, err := header(tiny); err == nil {
		t.Error("no error for 60000 x 4 tiles")
	}
}

// FuzzHeader: no panic, and nothing larger than DICOM has.
func FuzzHeader(f *testing.F) {
	f.Add(stream())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := header(b); err == nil && (h.width < 1 || h.height < 1 || h.width > 1<<16 || h.height > 1<<16 || h.bits < 1 || h.bits > 16) {
			t.Fatalf("%+v", h)
		}
	})
}
