package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ichor/config"
	"ichor/pipeline"
	"ichor/pipeline/finding"
	"ichor/pipeline/phantom"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// The shipped networks say the same of a head however it was sent: to 0.5 % where voxels are only numbered otherwise, to
// 10 % where the head is cut otherwise.
func TestNetworksSeeTheSameHead(t *testing.T) {
	e, err := openEngine(t.Context(), config.Analysis{Bundle: shippedBundle(t), Library: library(t), Provider: "cpu", Precision: "int8", Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s, err := phantom.Load("mixed")
	if err != nil {
		t.Fatal(err)
	}
	s = s.Matrix(256, 256, [2]float64{0.94, 0.94})
	look := func(files ...*dcm.DataSet) (ml float64, centroid volume.Vec, cavityML float64) {
		t.Helper()
		dir := t.TempDir()
		var in pipeline.Study
		for i, d := range files {
			path := filepath.Join(dir, fmt.Sprint(i))
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := dcm.WriteFile(io.Writer(f), dcm.FileMeta{}, d); err != nil {
				t.Fatal(err)
			}
			f.Close()
			in.Objects = append(in.Objects, dicomFile{path: path})
		}
		slices.Reverse(in.Objects)
		r, err := e.analyzer.Analyze(t.Context(), in)
		if err != nil || r.Finding.Status != finding.Analyzed {
			t.Fatalf("%v %+v", err, r)
		}
		g := &r.Volume.Grid
		for i, l := range r.Labels.Voxels {
			if l != 0 {
				k := i / (g.Rows * g.Columns)
				w := g.VoxelML(k)
				centroid, ml = centroid.Add(g.Point(k, float64(i/g.Columns%g.Rows), float64(i%g.Columns)).Scale(w)), ml+w
			}
		}
		return ml, centroid.Scale(1 / ml), r.Finding.CavityML
	}
	plain, _ := s.DataSets(phantom.WriteOptions{})
	want, at, cavity := look(plain...)
	multi, _ := s.FeetFirst().Enhanced(phantom.EnhancedOptions{})
	tilted, _ := s.Tilted(-30).DataSets(phantom.WriteOptions{})
	for name, c := range map[string]struct {
		files     []*dcm.DataSet
		share, mm float64
	}{"feet first, in frames": {[]*dcm.DataSet{multi}, 0.005, 0.1}, "tilted by -30 degrees": {tilted, 0.1, 4}} {
		got, p, head := look(c.files...)
		if math.Abs(got-want) > c.share*want || math.Abs(head-cavity) > c.share*cavity || p.Sub(at).Length() > c.mm {
			t.Errorf("%s: %.2f mL at %.1f in a cavity of %.0f mL, not %.2f at %.1f in %.0f", name, got, p, head, want, at, cavity)
		}
		t.Logf("%s: %.2f mL, %.2f as sent first; %.2f mm away", name, got, want, p.Sub(at).Length())
	}
}
