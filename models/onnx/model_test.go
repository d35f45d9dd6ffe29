package onnx

import (
	"encoding/binary"
	"math"
)

// A writer of just enough ONNX (onnx.proto3 of ONNX 1.14) to make small networks here: field numbers are those of the
// schema.

type message []byte

func (m message) number(field int, v int64) message {
	return binary.AppendUvarint(binary.AppendUvarint(m, uint64(field)<<3), uint64(v))
}

func (m message) bytes(field int, v []byte) message {
	m = binary.AppendUvarint(m, uint64(field)<<3|2)
	return append(binary.AppendUvarint(m, uint64(len(v))), v...)
}

func (m message) text(field int, v string) message { return m.bytes(field, []byte(v)) }

// value is a ValueInfoProto of float32; -1 is a dynamic dimension.
func value(name string, shape ...int64) message {
	var dims message
	for _, d := range shape {
		if d < 0 {
			dims = dims.bytes(1, message{}.text(2, "batch"))
		} else {
			dims = dims.bytes(1, message{}.number(1, d))
		}
	}
	tensor := message{}.number(1, 1).bytes(2, dims)
	return message{}.text(1, name).bytes(2, message{}.bytes(1, tensor))
}

func weights(name string, v []float32, shape ...int64) message {
	var m message
	for _, d := range shape {
		m = m.number(1, d)
	}
	raw := make([]byte, 4*len(v))
	for i, f := range v {
		binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(f))
	}
	return m.number(2, 1).text(8, name).bytes(9, raw)
}

func node(op string, inputs []string, output string, attributes ...message) message {
	var m message
	for _, in := range inputs {
		m = m.text(1, in)
	}
	m = m.text(2, output).text(4, op)
	for _, a := range attributes {
		m = m.bytes(5, a)
	}
	return m
}

func integers(name string, v ...int64) message {
	m := message{}.text(1, name).number(20, 7)
	for _, n := range v {
		m = m.number(8, n)
	}
	return m
}

// network makes x [-1, in, size, size] -> y [-1, out, size, size]: a 1 x 1 convolution whose weight from channel c to
// channel k is (k+1)/(c+2), deep 3 x 3 convolutions of `wide` channels before a sigmoid where deep > 0.
func network(in, out, size int64, deep int, wide int64) []byte {
	w := make([]float32, out*in)
	for k := range out {
		for c := range in {
			w[k*in+c] = float32(k+1) / float32(c+2)
		}
	}
	g := message{}.bytes(5, weights("w", w, out, in, 1, 1)).bytes(1, node("Conv", []string{"x", "w"}, "h0"))
	last := "h0"
	if deep > 0 {
		g = g.bytes(5, weights("wide", make([]float32, wide*out), wide, out, 1, 1))
		g = g.bytes(5, weights("deep", make([]float32, wide*wide*9), wide, wide, 3, 3))
		g = g.bytes(5, weights("narrow", make([]float32, out*wide), out, wide, 1, 1))
		g = g.bytes(1, node("Conv", []string{last, "wide"}, "d"))
		last = "d"
		for range deep {
			g = g.bytes(1, node("Conv", []string{last, "deep"}, last+"'", integers("pads", 1, 1, 1, 1)))
			last += "'"
		}
		g = g.bytes(1, node("Conv", []string{last, "narrow"}, "n"))
		last = "n"
	}
	g = g.bytes(1, node("Sigmoid", []string{last}, "y"))
	g = g.text(2, "test").bytes(11, value("x", -1, in, size, size)).bytes(12, value("y", -1, out, size, size))
	return message{}.number(1, 8).bytes(7, g).bytes(8, message{}.text(1, "").number(2, 13))
}

func sigmoid(x float64) float32 { return float32(1 / (1 + math.Exp(-x))) }
