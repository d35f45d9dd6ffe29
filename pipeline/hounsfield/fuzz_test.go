package hounsfield

import (
	"errors"
	"math"
	"slices"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// FuzzCheck: whatever a wrong rescale, wrapping, clipping or raw values make of some slices of a head, Check ends with a warning, a
// refusal or the head as it was.
func FuzzCheck(f *testing.F) {
	whole := numberedHead()
	f.Add([]byte{0, 255, 16, 4, 0, 0, 0}, []byte{})
	f.Add([]byte{0, 255, 16, 0, 0, 0, 1}, []byte{})
	f.Add([]byte{9, 1, 8, 4, 0, 0, 2, 20, 3, 16, 255, 0, 255, 0}, []byte{0, 128, 255, 127})
	f.Add([]byte{0, 255, 16, 0, 40, 90, 3}, []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, changes, raw []byte) {
		v := &volume.Volume{Grid: whole.Grid, HU: slices.Clone(whole.HU), Sources: whole.Sources}
		for ; len(changes) >= 7; changes = changes[7:] {
			first, n := int(changes[0])%v.Slices(), int(changes[1])+1
			slope, add := float64(changes[2])/16, 256*int(int8(changes[3]))+int(changes[4])
			for k := first; k < min(first+n, v.Slices()); k++ {
				for i, hu := range v.Slice(k) {
					x := int(math.Round(float64(hu)*slope)) + add
					switch changes[6] % 4 {
					case 1:
						x &= 0xFFF
					case 2:
						x = min(x, 16*int(changes[5]))
					case 3:
						x = max(x, int(changes[5]))
					}
					v.Slice(k)[i] = int16(min(max(x, math.MinInt16), math.MaxInt16))
				}
			}
		}
		for i := 0; i+1 < min(len(raw), 2*len(v.HU)); i += 2 {
			v.HU[i/2] = int16(raw[i]) | int16(raw[i+1])<<8
		}
		was := slices.Clone(v.HU)
		warnings, err := Check(v)
		refusal := new(finding.Refusal)
		switch {
		case err == nil && len(warnings) == 0 && !slices.Equal(v.HU, was):
			t.Fatal("values were changed without a warning")
		case err == nil && len(warnings) == 0 && len(raw) == 0:
			if peak := count(v).peak(); peak < brainLo || peak > brainHi {
				t.Fatalf("soft tissue at %d HU without a warning", peak)
			}
		case err != nil && !errors.Is(err, ErrUnsigned) && (!errors.As(err, &refusal) || refusal.Code != finding.NotHounsfield || refusal.Reason == ""):
			t.Fatalf("refused by %v", err)
		}
	})
}

// numberedHead is a small head with images numbered from 1.
func numberedHead() *volume.Volume {
	v := headOf(32)
	for k := range v.Slices() {
		v.Sources = append(v.Sources, volume.Source{InstanceNumber: k + 1})
	}
	return v
}
