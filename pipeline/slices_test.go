package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// lazy is an object that is made when it is read, so that a study of thousands of slices takes no memory of its own.
type lazy struct {
	study *synthetic.Study
	at    int // slice of study, repeated as often as needed
	place int
	mm    float64
	uids  [2]string // of study and series
}

func (l lazy) Open() (ObjectReader, error) {
	objects, _ := l.study.Only(l.at).DataSets(synthetic.WriteOptions{StudyInstanceUID: l.uids[0]})
	d := objects[0]
	d.SetStrings(dcm.SeriesInstanceUID, "UI", l.uids[1])
	d.SetStrings(dcm.SOPInstanceUID, "UI", fmt.Sprintf("%s.%d", l.uids[1], l.place+1))
	d.SetStrings(dcm.InstanceNumber, "IS", strconv.Itoa(l.place+1))
	from := l.study.PositionsMM[0]
	d.SetStrings(dcm.ImagePositionPatient, "DS", fmt.Sprintf("%.3f", from[0]), fmt.Sprintf("%.3f", from[1]), fmt.Sprintf("%.4f", from[2]+float64(l.place)*l.mm))
	d.SetStrings(dcm.SliceThickness, "DS", fmt.Sprintf("%.4f", l.mm))
	var b bytes.Buffer
	meta := dcm.FileMeta{SOPClassUID: d.String(dcm.SOPClassUID), SOPInstanceUID: d.String(dcm.SOPInstanceUID), TransferSyntaxUID: dcm.ExplicitVRLittleEndian}
	if err := dcm.WriteFile(&b, meta, d); err != nil {
		return nil, err
	}
	return memoryReader{bytes.NewReader(b.Bytes())}, nil
}

// peak runs f and returns by how much the heap grew at most.
func peak(f func()) (bytes uint64, took time.Duration) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	rest, highest := m.HeapAlloc, atomic.Uint64{}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				highest.Store(max(highest.Load(), m.HeapAlloc))
			}
		}
	}()
	begun := time.Now()
	f()
	took = time.Since(begun)
	close(done)
	<-ended
	return max(highest.Load(), rest) - rest, took
}

// TestManySlices: time and memory of an analysis grow with the slices of a study and not faster. ICHOR_TEST_SLICES analyses so many,
// of 512 by 512 pixels.
func TestManySlices(t *testing.T) {
	a := analyzer()
	shape := synthetic.Shape{Balls: []synthetic.Ball{{Subtype: finding.IPH, CentreMM: volume.Vec{-30, 10, 5}, RadiusMM: 20}}}
	sizes := []int{100, 200, 400}
	if text := os.Getenv("ICHOR_TEST_SLICES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		shape.Rows, shape.Columns, shape.PixelSpacingMM = 512, 512, 0.425
		sizes = []int{n}
	}
	head := synthetic.Head(shape)
	var perSlice []float64
	for _, n := range sizes {
		study := Study{UID: dcm.RandomUID(), Complete: "files"}
		for i := range n {
			study.Objects = append(study.Objects, lazy{head, i * len(head.PositionsMM) / n, i, 160 / float64(n), [2]string{study.UID, study.UID + ".1"}})
		}
		var status finding.Status
		bytes, took := peak(func() {
			result, err := a.Analyze(context.WithoutCancel(t.Context()), study)
			if err != nil {
				t.Fatal(err)
			}
			status = result.Finding.Status
			if len(result.Finding.Reason) > 0 {
				t.Logf("%s", result.Finding.Reason)
			}
		})
		t.Logf("%d slices: %s, %.0f MB at most, %v", n, status, float64(bytes)/1e6, took.Round(time.Millisecond))
		perSlice = append(perSlice, float64(bytes)/float64(n))
	}
	if first, last := perSlice[0], perSlice[len(perSlice)-1]; last > 1.5*first {
		t.Errorf("%.0f bytes a slice with %d slices, %.0f with %d", first, sizes[0], last, sizes[len(sizes)-1])
	}
}
