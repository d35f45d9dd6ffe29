package pipeline

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"os"
	"slices"
	"testing"

	"ichor/models/bundle"
	"ichor/pipeline/bleed"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/pipeline/window"
)

// reading is a case of testdata/reading.json, which models/training writes (testdata/reading.py).
type reading struct {
	Name           string                           `json:"name"`
	Shape          [3]int                           `json:"shape"`
	SpacingMM      [2]float64                       `json:"spacing_mm"`
	PositionsMM    []float64                        `json:"positions_mm"`
	Threshold      float64                          `json:"threshold"`
	MinComponentML float64                          `json:"min_component_ml"`
	Edge           float64                          `json:"edge"`
	SureThreshold  float64                          `json:"sure_threshold"`
	HU             packed                           `json:"hu"` // int16, little-endian
	Cavity         packed                           `json:"cavity"`
	Probabilities  packed                           `json:"probabilities"` // six channels of whole 255ths
	Evidence       *bundle.Evidence                 `json:"evidence"`
	Clots          []map[string]float64             `json:"clots"` // the largest first
	Labels         map[bundle.OperatingPoint]packed `json:"labels"`
}

// packed are bytes, compressed by zlib, in base64.
type packed []byte

func (p *packed) UnmarshalText(text []byte) error {
	r, err := zlib.NewReader(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(text)))
	if err == nil {
		*p, err = io.ReadAll(r)
	}
	return err
}

func readings(t *testing.T) []reading {
	raw, err := os.ReadFile("testdata/reading.json")
	if err != nil {
		t.Fatal(err)
	}
	var out []reading
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// answers is a network that answers one slice after the other.
type answers struct {
	slices [][]float32
	next   int
}

func (a *answers) Run(_ context.Context, _ []float32, batch int) (out []float32, _ error) {
	for range batch {
		out = append(out, a.slices[a.next]...)
		a.next++
	}
	return out, nil
}

// pose is how the slices of a case are stored; canonical is the first one.
type pose struct {
	name    string
	along   volume.Vec // of a row
	down    volume.Vec // of a column
	swapped bool
}

var poses = []pose{
	{"canonical", volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}, false},
	{"mirrored", volume.Vec{-1, 0, 0}, volume.Vec{0, -1, 0}, false},
	{"rows run to the back", volume.Vec{0, 1, 0}, volume.Vec{1, 0, 0}, true},
}

// scene puts a case on a volume in a pose.
func (c *reading) scene(p pose) (*volume.Volume, *volume.Mask, *answers) {
	rows, columns := c.Shape[1], c.Shape[2]
	g := volume.Grid{Rows: rows, Columns: columns, AlongRow: p.along, AlongColumn: p.down, SpacingMM: c.SpacingMM}
	if p.swapped {
		g.Rows, g.Columns, g.SpacingMM = columns, rows, [2]float64{c.SpacingMM[1], c.SpacingMM[0]}
	}
	for _, z := range c.PositionsMM {
		g.Origins = append(g.Origins, volume.Vec{0, 0, z})
	}
	v := &volume.Volume{Grid: g, HU: make([]int16, rows*columns*len(c.PositionsMM))}
	v.SupportMM = volume.Support(v.Gaps(), 0)
	cavity, view, net := volume.NewMask(&v.Grid), v.Canonical(), &answers{}
	plane := rows * columns
	for k := range v.Slices() {
		var slice []float32
		for ch := range 6 {
			for _, b := range c.Probabilities[(ch*v.Slices()+k)*plane:][:plane] {
				slice = append(slice, float32(b)/255)
			}
		}
		net.slices = append(net.slices, slice)
		for i := range plane {
			at := view.Index(i/columns, i%columns)
			v.Slice(k)[at] = int16(binary.LittleEndian.Uint16(c.HU[2*(k*plane+i):]))
			cavity.Slice(k)[at] = c.Cavity[k*plane+i]
		}
	}
	return v, cavity, net
}

func (c *reading) spec() *bundle.Network {
	n := int64(c.Shape[1])
	return &bundle.Network{Role: bundle.Bleed, Threshold: c.Threshold,
		Input:  bundle.Input{Shape: []int64{-1, 1, n, n}, WindowHU: [2]float64{-50, 150}},
		Output: bundle.Output{Channels: []string{"any", "IPH", "IVH", "SAH", "SDH", "EDH"}},
		Post:   bundle.Post{MinComponentML: c.MinComponentML, Edge: c.Edge, SureThreshold: c.SureThreshold, SubtypePer: "anatomy", Evidence: c.Evidence}}
}

// What is decided about a network's answer, and what it is called, is what the training code measures.
func TestReadingIsThatOfTheTrainingCode(t *testing.T) {
	t.Parallel()
	for _, c := range readings(t) {
		for _, p := range poses {
			for point := range c.Labels {
				t.Run(c.Name+"/"+p.name+"/"+string(point), func(t *testing.T) {
					v, cavity, net := c.scene(p)
					b := &bundle.Bundle{Manifest: bundle.Manifest{Networks: []bundle.Network{*c.spec()}}}
					b, err := b.At(point)
					if err != nil {
						t.Fatal(err)
					}
					marks, err := bleed.Find(t.Context(), v, cavity, net, b.Network(bundle.Bleed), window.Runs{Batch: 2})
					if err != nil {
						t.Fatal(err)
					}
					parts, err := marks.Parts(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					c.compareClots(t, parts)
					settled, _, err := settle(t.Context(), marks, b.Network(bundle.Bleed), &v.Grid)
					if err != nil {
						t.Fatal(err)
					}
					labels, err := settled(bleed.Chosen)
					if err != nil {
						t.Fatal(err)
					}
					view, plane, differ := v.Canonical(), c.Shape[1]*c.Shape[2], 0
					for i, want := range c.Labels[point] {
						if labels.Slice(i / plane)[view.Index(i%plane/c.Shape[2], i%plane%c.Shape[2])] != want {
							differ++
						}
					}
					if differ > 0 {
						t.Errorf("%d voxels differ", differ)
					}
				})
			}
		}
	}
}

func (c *reading) compareClots(t *testing.T, parts *bleed.Parts) {
	got := slices.SortedStableFunc(slices.Values(parts.Clots), func(a, b bleed.Signs) int {
		if a.ML > b.ML {
			return -1
		}
		return 1
	})
	if len(got) != len(c.Clots) {
		t.Fatalf("%d clots, want %d", len(got), len(c.Clots))
	}
	for i, s := range got {
		for name, v := range map[string]float64{"ml": s.ML, "mass": s.Mass, "mean": s.Mean, "peak": s.Peak, "contrast": s.ContrastHU,
			"thickness_mm": s.ThicknessMM, "depth_mm": s.DepthMM, "table": s.Table, "falx": s.Falx, "asymmetry": s.AsymmetryHU,
			"liquor": s.Liquor, "opposite": s.Opposite} {
			if want := c.Clots[i][name]; math.Abs(v-want) > 1e-6 {
				t.Errorf("clot %d of %.2f mL: %s is %.7f, want %.7f", i, s.ML, name, v, want)
			}
		}
	}
}

func TestReadingKeepsLargeClots(t *testing.T) {
	t.Parallel()
	cases := readings(t)
	unlikely, unsure := cases[0], cases[len(cases)-1]
	unlikely.Evidence.Intercept = -500
	unsure.SureThreshold = 2
	for name, c := range map[string]reading{"without any evidence": unlikely, "sure of nothing": unsure} {
		t.Run(name, func(t *testing.T) {
			v, cavity, net := c.scene(poses[0])
			marks, err := bleed.Find(t.Context(), v, cavity, net, c.spec(), window.Runs{})
			if err != nil {
				t.Fatal(err)
			}
			parts, err := marks.Parts(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range parts.Clots {
				if parts.Kept[i] != (s.ML >= 5) {
					t.Errorf("a clot of %.2f mL is kept: %v", s.ML, parts.Kept[i])
				}
			}
		})
	}
}

// A stricter level never has what a more lenient one has not, under the same name; with an edge and without.
func TestReadingLevelsAreNested(t *testing.T) {
	t.Parallel()
	for _, c := range readings(t) {
		t.Run(c.Name, func(t *testing.T) {
			v, cavity, net := c.scene(poses[0])
			marks, err := bleed.Find(t.Context(), v, cavity, net, c.spec(), window.Runs{})
			if err != nil {
				t.Fatal(err)
			}
			settled, _, err := settle(t.Context(), marks, c.spec(), &v.Grid)
			if err != nil {
				t.Fatal(err)
			}
			var of [bleed.Strict + 1]*volume.Mask
			for level := bleed.Lenient; level <= bleed.Strict; level++ {
				if of[level], err = settled(level); err != nil {
					t.Fatal(err)
				}
			}
			fewer, more := 0, 0
			for i, chosen := range of[bleed.Chosen].Voxels {
				lenient, strict := of[bleed.Lenient].Voxels[i], of[bleed.Strict].Voxels[i]
				if strict != 0 && strict != chosen || chosen != 0 && chosen != lenient {
					t.Fatalf("voxel %d is %d, %d, %d from lenient to strict", i, lenient, chosen, strict)
				}
				if chosen != 0 && strict == 0 {
					fewer++
				}
				if chosen == 0 && lenient != uint8(finding.None) {
					more++
				}
			}
			if more == 0 || fewer == 0 {
				t.Errorf("%d voxels are left out by the strict level, %d added by the lenient one", fewer, more)
			}
		})
	}
}
