package main

import (
	"os"
	"strings"
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

// TestOpenVINO: a library with OpenVINO, at ICHOR_OPENVINO, reproduces the references of the shipped bundle in both precisions.
func TestOpenVINO(t *testing.T) {
	path := os.Getenv("ICHOR_OPENVINO")
	if path == "" {
		t.Skip("ICHOR_OPENVINO is not set: the path of libonnxruntime.so of onnxruntime-openvino")
	}
	dir, _ := sampleStudy(t, "mixed")
	for _, p := range []string{"float32", "int8"} {
		code, stdout, stderr := command(t, "analyze", dir, "--out", t.TempDir(), "--provider", "openvino", "--library", path, "--bundle", shippedBundle(t), "--precision", p)
		if code != exitOK || !strings.Contains(stdout, "total   71.") {
			t.Errorf("%s: exit code %d\n%s%s", p, code, stdout, stderr)
		}
	}
}
