package codec

import (
	"syscall"
	"testing"
	"time"

	"ichor/scp/dcm"
)

// BenchmarkPixels decodes a slice of 512 x 512 signed 16-bit pixels, as the foreign encoders make it.
func BenchmarkPixels(b *testing.B) {
	d := decoder(b)
	p := slice()
	want := map[string]bool{"dcmtk-sv1": true, "dcmtk-jpeg7": true, "dcmtk-rle": true, "dcmtk-jpls": true, "dcmtk-deflated": true,
		"dcmtk-bigendian": true, "gdcm-j2k": true}
	for _, e := range encoders() {
		if !want[e.name] {
			continue
		}
		b.Run(dcm.UIDName(e.syntax), func(b *testing.B) {
			f := open(b, e.encode(b, p))
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				if _, err := d.Pixels(b.Context(), f); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuTime(b)-before).Seconds()*1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// cpuTime is what this process and those it ran have used: a busy machine does not change it much.
func cpuTime(b *testing.B) (d time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		d += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return d
}
