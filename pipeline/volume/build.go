package volume

import (
	"context"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"ichor/scp/dcm"
)

// AirHU is the least value of a volume: air, and what padding outside the reconstruction is set to.
const AirHU = -1024

// Slice is one image of a series: its header, and its pixels when asked for.
type Slice struct {
	Header *dcm.DataSet
	Pixels func(context.Context) ([]byte, error) // native, little endian, as dcm.File.PixelData; called by many goroutines
}

// Build reads the slices of one series into a volume on the source grid. The error is a *finding.Refusal where the
// series cannot be measured, ctx's, or one of Pixels.
func Build(ctx context.Context, images []Slice) (*Volume, *Arrangement, error) {
	headers := make([]*dcm.DataSet, len(images))
	for i, s := range images {
		headers[i] = s.Header
	}
	a, err := Arrange(headers)
	if err != nil {
		return nil, nil, err
	}
	stored := make([]Stored, len(images))
	for i, h := range headers {
		if stored[i], err = StoredOf(h, i); err != nil {
			return nil, nil, err
		}
	}
	first := headers[a.Order[0]]
	v := &Volume{Grid: a.Grid, HU: make([]int16, len(a.Order)*a.Grid.Rows*a.Grid.Columns),
		SeriesInstanceUID: first.String(dcm.SeriesInstanceUID), FrameOfReferenceUID: first.String(dcm.FrameOfReferenceUID)}
	// Decompression costs more than all else here, and no slice depends on another.
	decode := func(ctx context.Context, i int, hu []int16) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		raw, err := images[i].Pixels(ctx)
		if err != nil {
			return err
		}
		return stored[i].Decode(raw, hu, Name(headers[i], i))
	}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for k, i := range a.Order {
		g.Go(func() error { return decode(inner, i, v.Slice(k)) })
		frame, _ := headers[i].Int(dcm.ReferencedFrameNumber) // see Frames
		number, _ := headers[i].Int(dcm.InstanceNumber)
		v.Sources = append(v.Sources, Source{SOPClassUID: headers[i].String(dcm.SOPClassUID),
			SOPInstanceUID: headers[i].String(dcm.SOPInstanceUID), Frame: frame, InstanceNumber: number})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	again := make([]int16, a.Grid.Rows*a.Grid.Columns)
	for _, d := range a.Doubles {
		if err := decode(ctx, d[1], again); err != nil {
			return nil, nil, err
		}
		if !slices.Equal(again, v.Slice(d[0])) {
			k := a.Order[d[0]]
			return nil, nil, duplicate(headers[k], k, headers[d[1]], d[1], "with other pixels")
		}
	}
	return v, a, nil
}
