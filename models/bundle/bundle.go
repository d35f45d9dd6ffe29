package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// ErrRefused is wrapped by every error about the content of a bundle.
var ErrRefused = errors.New("bundle refused")

// ManifestFile is the file that makes a folder a bundle.
const ManifestFile = "manifest.json"

// Limits that no real bundle reaches.
const (
	maxManifest = 1 << 20
	maxNetwork  = 1 << 30
	maxSize     = 1024 // N
	maxChannels = 64
)

// maxOvershoot is how far a probability may lie outside 0 to 1: the rounding of a float32 sum.
const maxOvershoot = 1e-4

// Bundle is an opened bundle whose files match their digests.
type Bundle struct {
	Manifest
	Dir    string
	Digest string // sha256 of manifest.json, which holds the digests of all other files
}

// Open reads the bundle in dir. Errors about its content wrap ErrRefused and name the field, such as
// networks[2].input.window_hu.
func Open(dir string) (*Bundle, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", dir, err)
	}
	raw, err := readCapped(filepath.Join(root, ManifestFile), maxManifest)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w; analysis.bundle must be a folder with a manifest.json", dir, err)
	}
	b := &Bundle{Dir: root, Digest: digest(raw)}
	if err := decode(raw, &b.Manifest); err != nil {
		return nil, fmt.Errorf("bundle %s: manifest.json: %w", dir, err)
	}
	if err := b.Manifest.check(); err != nil {
		return nil, fmt.Errorf("bundle %s: manifest.json: %w", dir, err)
	}
	for i := range b.Networks {
		n := &b.Networks[i]
		n.dir = root
		var err error
		for _, fold := range n.Folds() {
			err = errors.Join(err, fold.checkFiles())
		}
		if err == nil && n.Int8 != nil {
			q := n.int8()
			err = q.checkFiles()
		}
		if err != nil {
			return nil, fmt.Errorf("bundle %s: networks[%d].%w", dir, i, err)
		}
	}
	return b, nil
}

// Network returns the network with role r. Every opened bundle has one for each role.
func (b *Bundle) Network(r Role) *Network {
	i := slices.IndexFunc(b.Networks, func(n Network) bool { return n.Role == r })
	if i < 0 {
		return nil
	}
	return &b.Networks[i]
}

// Load reads the ONNX file and checks its digest again, so that no other file than the one checked by Open is run.
func (n *Network) Load() ([]byte, error) {
	return n.read(n.field("file"), n.File, n.SHA256, maxNetwork)
}

// Samples returns the values of the reference input and of its expected output.
func (n *Network) Samples() (input, output []float32, err error) {
	ref := &n.Reference
	in, err := n.read("reference.input", ref.Input, ref.InputSHA256, 4*elements(ref.InputShape))
	if err != nil {
		return nil, nil, err
	}
	out, err := n.read(n.field("reference.output"), ref.Output, ref.OutputSHA256, 4*elements(ref.OutputShape))
	if err != nil {
		return nil, nil, err
	}
	return floats(in), floats(out), nil
}

func (n *Network) checkFiles() error {
	if _, err := n.Load(); err != nil {
		return err
	}
	in, out, err := n.Samples()
	if err != nil {
		return err
	}
	if want := elements(n.Reference.InputShape); int64(len(in)) != want {
		return refuse("reference.input", "has %d values; input_shape requires %d", len(in), want)
	}
	output := n.field("reference.output")
	if want := elements(n.Reference.OutputShape); int64(len(out)) != want {
		return refuse(output, "has %d values; output_shape requires %d", len(out), want)
	}
	if slices.ContainsFunc(in, func(f float32) bool { return f != f || math.IsInf(float64(f), 0) }) {
		return refuse("reference.input", "contains NaN or an infinite value")
	}
	if n.NNUNet != nil {
		if slices.ContainsFunc(out, func(f float32) bool { return f != f || math.IsInf(float64(f), 0) }) {
			return refuse(output, "holds a value that is no number")
		}
		return nil
	}
	if slices.ContainsFunc(out, func(f float32) bool { return !(f >= -maxOvershoot && f <= 1+maxOvershoot) }) {
		return refuse(output, "contains a value outside 0 to 1")
	}
	return nil
}

func (n *Network) read(field, name, want string, limit int64) ([]byte, error) {
	if n.dir == "" {
		return nil, fmt.Errorf("%s of network %s: the bundle was not opened", field, n.Role)
	}
	data, err := readCapped(filepath.Join(n.dir, filepath.FromSlash(name)), limit)
	if err != nil {
		return nil, refuse(field, "%v", err)
	}
	if got := digest(data); got != want {
		return nil, refuse(field, "%s has sha256 %s, but the manifest lists %s; copy the bundle again", name, got, want)
	}
	return data, nil
}

// decode is strict: unknown keys, wrong types and data after the object are errors.
func decode(raw []byte, m *Manifest) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		var typ *json.UnmarshalTypeError
		if errors.As(err, &typ) {
			return refuse(typ.Field, "is a JSON %s, not a %s", typ.Value, typ.Type)
		}
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: unexpected data after the JSON object", ErrRefused)
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return checkPresent(all)
}

// readCapped reads a regular file of at most limit bytes.
func readCapped(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than the limit of %d", path, info.Size(), limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return data, err
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func floats(raw []byte) []float32 {
	out := make([]float32, len(raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}

// elements returns the number of values in a shape that was checked.
func elements(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

func refuse(field, format string, args ...any) error {
	return fmt.Errorf("%s %s: %w", field, fmt.Sprintf(format, args...), ErrRefused)
}
