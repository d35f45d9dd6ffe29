package pipeline_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"ichor/models/bundle"
	"ichor/pipeline"
	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/window"
	"ichor/scp/dcm"
)

// Analyze a sample study. The networks here are thresholds; a node runs those of a bundle with package onnx.
func ExampleAnalyzer_Analyze() {
	head, err := phantom.Load("epidural")
	if err != nil {
		log.Fatal(err)
	}
	head = head.Matrix(side, side, [2]float64{1.8, 1.8}) // small, to be quick
	files, truth := head.DataSets(synthetic.WriteOptions{})
	study := pipeline.Study{UID: truth.StudyInstanceUID}
	for _, d := range files {
		var b bytes.Buffer
		if err := dcm.WriteFile(&b, dcm.FileMeta{}, d); err != nil {
			log.Fatal(err)
		}
		study.Objects = append(study.Objects, object(b.Bytes()))
	}

	network := func(role bundle.Role, window [2]float64, channels ...string) bundle.Network {
		return bundle.Network{Role: role, Threshold: 0.5, Output: bundle.Output{Channels: channels},
			Post:  bundle.Post{LargestComponent: true, FillHoles: true},
			Input: bundle.Input{Shape: []int64{-1, 1, side, side}, WindowHU: window, PixelMM: 1.8}}
	}
	// One output: a network that tells no subtypes, like those of the paper. Opening drops the rim of brain and bone, which
	// is as dense as blood.
	bleed := network(bundle.Bleed, [2]float64{-50, 150}, "any")
	bleed.Post = bundle.Post{OpeningMM: 4, LargestComponent: true}
	analyzer := pipeline.New(pipeline.Options{
		Bundle: &bundle.Bundle{Manifest: bundle.Manifest{Name: "thresholds", Networks: []bundle.Network{
			network(bundle.CavityTissue, [2]float64{0, 600}, "cavity"),
			network(bundle.CavityBone, [2]float64{150, 650}, "cavity"),
			bleed,
		}}},
		Runs:         window.Runs{Batch: 8, Lanes: 2},
		CavityTissue: threshold{0.01, 0.2}, // 6 to 120 HU
		CavityBone:   threshold{2, 2},      // nothing
		Bleed:        threshold{0.53, 0.7}, // 56 to 90 HU
	})
	result, err := analyzer.Analyze(context.Background(), study)
	if err != nil { // a fault of this machine; a study that cannot be read is a finding with a reason
		log.Fatal(err)
	}
	f := result.Finding
	fmt.Println(f.Status, f.Series.Slices, "slices")
	fmt.Printf("%.0f mL of hemorrhage\n", f.Volumes.Total)
	// Output:
	// analyzed 32 slices
	// 35 mL of hemorrhage
}

const side = 128 // rows and columns that the networks see

// object is a Part 10 file in memory.
type object []byte

func (o object) Open() (pipeline.ObjectReader, error) { return reader{bytes.NewReader(o)}, nil }

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

// threshold answers 1 for the pixels whose windowed value lies between low and high.
type threshold struct{ low, high float32 }

func (n threshold) Run(_ context.Context, in []float32, batch int) ([]float32, error) {
	out := make([]float32, len(in)) // one channel in, one out
	for i, v := range in {
		if v > n.low && v < n.high {
			out[i] = 1
		}
	}
	return out, nil
}
