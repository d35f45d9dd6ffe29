package main

import (
	"testing"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/models/bundle"
	"ichor/models/onnx"
)

// TestPrecisionAuto: the shipped bundle runs in int8 where that is fast, and in float32 elsewhere.
func TestPrecisionAuto(t *testing.T) {
	c := testConfig(t).Analysis
	c.Precision = config.PrecisionAuto
	want := bundle.Int8
	if onnx.FastInt8() != nil {
		want = bundle.Float32
	}
	e, err := node.OpenEngine(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if e.Precision != want || e.Why == "" {
		t.Errorf("%s (%s), want %s", e.Precision, e.Why, want)
	}
	if got := e.Bundle.Networks[0].Precision(); got != want {
		t.Errorf("networks in %s, want %s", got, want)
	}
}
