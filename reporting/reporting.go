// Package reporting turns an analysed study into the objects for the PACS: a Segmentation (reporting/seg), a Secondary Capture
// series (reporting/sc) and a structured report (reporting/sr). New checks the study, Report.Write builds all objects, and
// deliver sends them.
//
//	analyzed, hemorrhage      SEG  SC  SR  KO  overlay
//	analyzed, no hemorrhage        SC  SR
//	refused                        SC  SR, both saying why
//
// With Options.CavitySegment every analyzed study has a second SEG, of the intracranial cavity.
//
// A label map (Options.LabelMap) is a second SEG, with a second SR that refers to it: a destination gets the one pair or
// the other, as Output.Form says.
//
// A result that replaces another refers to its report. Rejection builds the note (reporting/ko) that lists the replaced objects
// that a destination has.
//
// The output depends only on the input: the clock is an option, and UIDs are derived from the source series, its images and the
// bundle digest. The same report with the same clock gives the same bytes.
package reporting

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"slices"
	"time"

	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/reporting/iod"
	"ichor/reporting/ko"
	"ichor/reporting/sc"
	"ichor/reporting/seg"
	"ichor/reporting/sr"
	"ichor/scp/dcm"
)

// ErrReport is returned for a report whose parts do not match.
var ErrReport = iod.ErrReport

// Options are the settings of a site.
type Options struct {
	Clock   func() time.Time // content date and time; time.Now if nil
	Began   time.Time        // series date and time, the same for later results in the same series; from Clock if zero
	Version string           // of ichor, for Software Versions

	Looks         iod.Looks       // labels, codes and colours of segments that differ from the default
	Names         iod.SeriesNames // numbers and descriptions of series that differ from the default
	CavitySegment bool            // write a separate segmentation of the intracranial cavity, with or without hemorrhage
	LabelMap      bool            // also write SEG and SR with a label map
	NoOverlay     bool            // omit the overlay series
	NoKeyObjects  bool            // omit the key object note
}

// Kind is the kind of an object.
type Kind string

const (
	SEG Kind = "SEG"
	SC  Kind = "SC"
	SR  Kind = "SR"
	KO  Kind = "KO"
)

// Form is the form of segmentation for which an object is written, see Object.For.
type Form string

const (
	Any      Form = ""
	Binary   Form = "binary"
	LabelMap Form = "labelmap"
)

// Output is one DICOM object, ready to be written to a file or sent.
type Output struct {
	Kind              Kind
	Form              Form
	Name              string // file name relative to an output folder: seg.dcm, sc/1.dcm, sr.dcm, overlay/001.dcm
	SOPClassUID       string
	SOPInstanceUID    string
	SeriesInstanceUID string
	TransferSyntaxUID string // Explicit VR Little Endian
	Bytes             []byte // Part 10
}

// For reports whether the object is for a destination of form f.
func (o Output) For(f Form) bool { return o.Form == Any || o.Form == f }

// Report is an analysed study with its identity, ready to write. Create it with New.
type Report struct {
	c      *iod.Report
	o      Options
	bundle finding.Bundle // as in the finding; in objects texts are shortened to fit attributes
}

// New checks that the parts of r match. Errors: ErrReport.
func New(r analysis.Analysis, o Options) (*Report, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	c, err := iod.New(iod.Report{Analysis: r, Time: o.Clock(), Began: o.Began, Version: o.Version, Looks: o.Looks, Names: o.Names, CavitySegment: o.CavitySegment})
	if err != nil {
		return nil, err
	}
	return &Report{c, o, r.Finding.Bundle}, nil
}

// Finding returns the finding of the report, including added warnings.
func (r *Report) Finding() finding.Finding {
	f := r.c.Finding
	f.Bundle = r.bundle
	return f
}

// Identity identifies all objects of the report together: two reports with the same objects have the same identity.
func (r *Report) Identity() string { return r.c.UID("result") }

// NextGeneration gives all objects new UIDs, because the current ones were rejected at a destination.
func (r *Report) NextGeneration() { r.c.Generation++ }

// Replace states which result this one replaces: a warning for people, and the reports of the former result.
func (r *Report) Replace(warning string, predecessors []iod.SeriesReferences) {
	r.c.Finding.Warnings = append(slices.Clone(r.c.Finding.Warnings), warning)
	r.c.Predecessors = predecessors
}

// Write builds the objects in sending order: an object comes after all objects it refers to. Errors come from ctx or from the
// writers.
func (r *Report) Write(ctx context.Context) ([]Output, error) {
	c, o := r.c, r.o
	w := &writer{ctx: ctx}
	overlay := make(chan *writer, 1)
	go func() { overlay <- overlayOf(ctx, c, o) }() // drawing takes as long as all else
	defer func() {                                  // also if the rest fails
		if overlay != nil {
			<-overlay
		}
	}()
	form := Any
	if o.LabelMap && (c.Segmented() || c.CavitySegmented()) {
		form = Binary
	}
	if c.Segmented() {
		w.add(SEG, form, "seg.dcm", seg.DataSet(c))
	}
	if c.CavitySegmented() {
		w.add(SEG, form, "seg-cavity.dcm", seg.Cavity(c))
	}
	if c.Finding.Status == finding.Analyzed {
		pages, err := sc.Pages(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("secondary capture: %w", err)
		}
		for i, p := range pages {
			w.add(SC, Any, fmt.Sprintf("sc/%d.dcm", i+1), sc.DataSet(c, i+1, p))
		}
	}
	if c.Finding.Status == finding.Refused {
		page, err := sc.Refusal(c)
		if err != nil {
			return nil, fmt.Errorf("secondary capture: %w", err)
		}
		w.add(SC, Any, "sc/1.dcm", sc.DataSet(c, 1, page))
	}
	w.add(SR, form, "sr.dcm", sr.DataSet(c))
	keys := len(c.Segments()) > 0 && !o.NoKeyObjects
	if keys {
		w.add(KO, form, "ko.dcm", ko.KeySlices(c))
	}
	if form == Binary {
		c := c.AsLabelMap()
		if c.Segmented() {
			w.add(SEG, LabelMap, "seg-labelmap.dcm", seg.DataSet(c))
		}
		if c.CavitySegmented() {
			w.add(SEG, LabelMap, "seg-cavity-labelmap.dcm", seg.Cavity(c))
		}
		w.add(SR, LabelMap, "sr-labelmap.dcm", sr.DataSet(c))
		if keys {
			w.add(KO, LabelMap, "ko-labelmap.dcm", ko.KeySlices(c))
		}
	}
	pages := <-overlay
	overlay = nil
	if err := errors.Join(w.err, pages.err); err != nil {
		return nil, err
	}
	return append(w.objects, pages.objects...), nil
}

// overlayOf draws the series with the overlay burnt in.
func overlayOf(ctx context.Context, c *iod.Report, o Options) *writer {
	w := &writer{ctx: ctx}
	if len(c.Segments()) == 0 || o.NoOverlay {
		return w
	}
	n := 0
	for p, err := range sc.Overlay(ctx, c) {
		if err != nil {
			w.err = fmt.Errorf("overlay: %w", err)
			break
		}
		n++
		w.add(SC, Any, fmt.Sprintf("overlay/%03d.dcm", n), sc.DataSet(c, n, p))
	}
	return w
}

// writer encodes objects until the first error.
type writer struct {
	ctx     context.Context
	objects []Output
	err     error
}

func (w *writer) add(kind Kind, form Form, name string, d *dcm.DataSet) {
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	if w.err != nil {
		return
	}
	o, err := encode(kind, name, d)
	if err != nil {
		w.err = fmt.Errorf("%s: %w", name, err)
		return
	}
	o.Form = form
	w.objects = append(w.objects, o)
}

// Rejection builds the note that rejects objects of an earlier result. header is the header of any object of the study, number
// the instance number of the note in its series.
func Rejection(header *dcm.DataSet, b finding.Bundle, rejected []iod.SeriesReferences, number int, o Options) (Output, error) {
	// Like the report of a refused study, a note refers to no source images.
	r, err := New(analysis.Analysis{Header: header, Finding: finding.Finding{Status: finding.Refused, Bundle: b}}, o)
	if err != nil {
		return Output{}, err
	}
	return encode(KO, "rejection.dcm", ko.Rejection(r.c, rejected, number))
}

// WritePNG draws the summary page of an analysed study, which is the first image of the SC series. ErrReport for a refused
// study.
func (r *Report) WritePNG(ctx context.Context, w io.Writer) error {
	if r.c.Finding.Status != finding.Analyzed {
		return fmt.Errorf("summary page of a study with status %q: %w", r.c.Finding.Status, ErrReport)
	}
	img, err := sc.Summary(ctx, r.c)
	if err != nil {
		return err
	}
	return png.Encode(w, img)
}

func encode(kind Kind, name string, d *dcm.DataSet) (Output, error) {
	o := Output{Kind: kind, Name: name, SOPClassUID: d.String(dcm.SOPClassUID), SOPInstanceUID: d.String(dcm.SOPInstanceUID),
		SeriesInstanceUID: d.String(dcm.SeriesInstanceUID), TransferSyntaxUID: dcm.ExplicitVRLittleEndian}
	var b bytes.Buffer
	err := dcm.WriteFile(&b, dcm.FileMeta{SOPClassUID: o.SOPClassUID, SOPInstanceUID: o.SOPInstanceUID,
		TransferSyntaxUID: o.TransferSyntaxUID}, d)
	o.Bytes = b.Bytes()
	return o, err
}
