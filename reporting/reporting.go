// Package reporting turns one finding into the objects that a PACS keeps: a Segmentation (reporting/seg), a Secondary
// Capture series (reporting/sc) and a structured report (reporting/sr). Write makes all of them; deliver sends them.
//
//	analyzed, hemorrhage      SEG  SC  SR
//	analyzed, no hemorrhage        SC  SR
//	refused                            SR, saying why
//
// Nothing here depends on anything but its input: the clock is an option, UIDs are derived from the source series, its
// images and the bundle digest. The same report under the same clock gives the same bytes.
package reporting

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/png"
	"io"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/reporting/iod"
	"ichor/reporting/sc"
	"ichor/reporting/seg"
	"ichor/reporting/sr"
	"ichor/scp/dcm"
)

// ErrReport is returned for a report whose parts do not fit together.
var ErrReport = iod.ErrReport

// Report is one finding with the voxels and the header it came from. It is read, never changed.
type Report struct {
	Finding finding.Finding
	Volume  *volume.Volume // nil for a refused study
	Labels  *volume.Mask   // voxel value is a finding.Subtype; nil for a refused study
	Cavity  *volume.Mask   // may be nil
	Header  *dcm.DataSet   // of one image of the analysed series, or of any object of a refused study
}

// SeriesNumbers are the numbers of our three series; a fixed high block keeps them last in a worklist.
type SeriesNumbers struct{ SEG, SC, SR int }

// DefaultSeriesNumbers are used where Options leaves them zero.
func DefaultSeriesNumbers() SeriesNumbers { return SeriesNumbers{SEG: 9001, SC: 9002, SR: 9003} }

// Options are the choices of a site.
type Options struct {
	Clock         func() time.Time // content date and time; time.Now if nil
	SeriesNumbers SeriesNumbers
	Version       string // of ichor, for Software Versions
	DeviceSerial  string // Device Serial Number; the beginning of the bundle digest if empty
	Generation    int    // see iod.Case
}

// Kind says which of the three objects one is.
type Kind string

const (
	SEG Kind = "SEG"
	SC  Kind = "SC"
	SR  Kind = "SR"
)

// Object is one DICOM object, ready to be written to a file or sent.
type Object struct {
	Kind              Kind
	Name              string // file name relative to an output folder: seg.dcm, sc/1.dcm, sr.dcm
	SOPClassUID       string
	SOPInstanceUID    string
	SeriesInstanceUID string
	TransferSyntaxUID string // Explicit VR Little Endian
	Bytes             []byte // Part 10
}

// Write makes the objects of r, in the order in which they should be sent: an object comes after all it refers to.
// Errors are ErrReport, the context's, or those of the writer.
func Write(ctx context.Context, r Report, o Options) ([]Object, error) {
	c, err := newCase(r, o)
	if err != nil {
		return nil, err
	}
	n := o.SeriesNumbers.orDefault()
	var out []Object
	add := func(kind Kind, name string, d *dcm.DataSet) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		obj, err := encode(kind, name, d)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, obj)
		return nil
	}
	if len(c.Segments()) > 0 {
		if err := add(SEG, "seg.dcm", seg.DataSet(c, n.SEG)); err != nil {
			return nil, err
		}
	}
	if c.Finding.Status == finding.Analyzed {
		pages, err := sc.Pages(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("secondary capture: %w", err)
		}
		for i, p := range pages {
			if err := add(SC, fmt.Sprintf("sc/%d.dcm", i+1), sc.DataSet(c, n.SC, i+1, p)); err != nil {
				return nil, err
			}
		}
	}
	if err := add(SR, "sr.dcm", sr.DataSet(c, n.SR)); err != nil {
		return nil, err
	}
	return out, nil
}

// Overlay draws the summary page of an analysed study, the first image of the SC series, for people.
func Overlay(ctx context.Context, r Report, o Options) (image.Image, error) {
	c, err := newCase(r, o)
	if err != nil {
		return nil, err
	}
	if c.Finding.Status != finding.Analyzed {
		return nil, fmt.Errorf("overlay of a study with status %q: %w", c.Finding.Status, ErrReport)
	}
	return sc.Summary(ctx, c)
}

// WritePNG writes the summary page as PNG.
func WritePNG(ctx context.Context, w io.Writer, r Report, o Options) error {
	img, err := Overlay(ctx, r, o)
	if err != nil {
		return err
	}
	return png.Encode(w, img)
}

func newCase(r Report, o Options) (*iod.Case, error) {
	clock := o.Clock
	if clock == nil {
		clock = time.Now
	}
	return iod.New(iod.Case{Finding: r.Finding, Volume: r.Volume, Labels: r.Labels, Cavity: r.Cavity, Header: r.Header,
		Time: clock(), Version: o.Version, Serial: o.DeviceSerial, Generation: o.Generation})
}

func (n SeriesNumbers) orDefault() SeriesNumbers {
	d := DefaultSeriesNumbers()
	return SeriesNumbers{SEG: cmp.Or(n.SEG, d.SEG), SC: cmp.Or(n.SC, d.SC), SR: cmp.Or(n.SR, d.SR)}
}

func encode(kind Kind, name string, d *dcm.DataSet) (Object, error) {
	o := Object{Kind: kind, Name: name, SOPClassUID: d.String(dcm.SOPClassUID), SOPInstanceUID: d.String(dcm.SOPInstanceUID),
		SeriesInstanceUID: d.String(dcm.SeriesInstanceUID), TransferSyntaxUID: dcm.ExplicitVRLittleEndian}
	var b bytes.Buffer
	err := dcm.WriteFile(&b, dcm.FileMeta{SOPClassUID: o.SOPClassUID, SOPInstanceUID: o.SOPInstanceUID,
		TransferSyntaxUID: o.TransferSyntaxUID}, d)
	o.Bytes = b.Bytes()
	return o, err
}
