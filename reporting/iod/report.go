// Package iod holds what the SEG, SC and SR writers share: the case they report, the modules of PS3.3 that every
// object has (patient, study, series, equipment, SOP common, references), the coded words and the palette.
//
// Each writer fills a data set by calling the modules in the order of its IOD table in PS3.3 Annex A.
package iod

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/reporting/words"
	"ichor/scp/dcm"
)

// ErrReport is returned for a case that cannot be written: masks that do not fit the volume, a missing study UID.
var ErrReport = errors.New("report does not hold together")

// Report is an analysed study as the writers see it. Make it with New. Generation, Predecessors and warnings of the finding
// may be changed until the first object is written.
type Report struct {
	analysis.Analysis
	Time    time.Time // of the content
	Began   time.Time // of our series, the same in all objects ever added to them; Time if zero
	Version string    // of ichor
	Serial  string    // of the device; the beginning of the bundle digest if empty
	// Generation counts the results made of exactly the same images that were rejected before: a rejected object never
	// comes back under its UID.
	Generation int
	// Predecessors are the reports of the former result that this one replaces.
	Predecessors []SeriesReferences

	Looks    Looks       // of segments, where they are not the default
	Names    SeriesNames // of our series, where they are not the default
	LabelMap bool        // the segmentation is a label map, and the report refers to that one

	CavitySegment bool // the cavity has a segmentation of its own

	study  string
	series []string // what UIDs are derived from that stay when images are added
	key    []string // what all others are derived from

	present  [][len(finding.Kinds) + 1]bool // by slice, by label value
	segments []finding.Subtype
}

// New checks that the parts of c fit together and fixes the identity of its objects.
func New(c Report) (*Report, error) {
	c.study = c.Header.String(dcm.StudyInstanceUID)
	if c.study == "" {
		c.study = c.Finding.Study.StudyInstanceUID
	}
	if !dcm.PlausibleUID(c.study) {
		return nil, fmt.Errorf("study instance UID is missing or malformed: %w", ErrReport)
	}
	c.Finding.Bundle.Name = cmp.Or(words.Text(c.Finding.Bundle.Name, 32), "unnamed")
	c.Finding.Bundle.Version = cmp.Or(words.Text(c.Finding.Bundle.Version, 16), "0")
	c.Version = cmp.Or(words.Text(c.Version, 64), "0")
	c.Serial = cmp.Or(words.Text(c.Serial, 64), c.shortDigest())
	switch c.Finding.Status {
	case finding.Refused:
		c.Volume, c.Labels, c.Cavity = nil, nil, nil
		c.series = []string{c.study, c.Finding.Bundle.Digest}
		c.key = append(append(slices.Clone(c.series), c.Finding.Code, c.Finding.Reason), c.corrected()...)
		return &c, nil
	case finding.Analyzed:
	default:
		return nil, fmt.Errorf("finding status %q: %w", c.Finding.Status, ErrReport)
	}
	if err := c.fits(); err != nil {
		return nil, err
	}
	c.series = []string{c.study, c.Finding.Bundle.Digest, c.Volume.SeriesInstanceUID}
	c.key = slices.Clone(c.series)
	for _, s := range c.Volume.Sources {
		c.key = append(c.key, s.SOPInstanceUID, strconv.Itoa(s.Frame))
	}
	c.key = append(c.key, c.corrected()...)
	return &c, nil
}

// corrected tells a result under a corrected patient identification from the one before, which has the same images.
func (c *Report) corrected() []string {
	if !c.Finding.Corrected {
		return nil
	}
	h := c.Header
	return []string{"patient", h.String(dcm.PatientID), h.String(dcm.PatientName), h.String(dcm.PatientBirthDate), h.String(dcm.PatientSex)}
}

// AsLabelMap is the same report with its segmentation as a label map.
func (c *Report) AsLabelMap() *Report {
	m := *c
	m.LabelMap = true
	return &m
}

func (c *Report) fits() error {
	v := c.Volume
	switch {
	case v == nil || c.Labels == nil || c.Finding.Volumes == nil:
		return fmt.Errorf("analyzed study without volume, labels or measures: %w", ErrReport)
	case v.Rows < 1 || v.Columns < 1 || v.Rows > 65535 || v.Columns > 65535 || v.Slices() < 1:
		return fmt.Errorf("volume of %d slices, %d rows, %d columns: %w", v.Slices(), v.Rows, v.Columns, ErrReport)
	case len(v.Sources) != v.Slices() || len(v.SupportMM) != v.Slices() || len(v.HU) != v.Slices()*v.Rows*v.Columns:
		return fmt.Errorf("volume of %d slices with %d sources, %d supports, %d voxels: %w",
			v.Slices(), len(v.Sources), len(v.SupportMM), len(v.HU), ErrReport)
	case !(v.SpacingMM[0] > 0) || !(v.SpacingMM[1] > 0):
		return fmt.Errorf("pixel spacing of %g by %g mm: %w", v.SpacingMM[0], v.SpacingMM[1], ErrReport)
	case !dcm.PlausibleUID(v.SeriesInstanceUID):
		return fmt.Errorf("series instance UID of the volume is missing or malformed: %w", ErrReport)
	}
	for _, ml := range append([]float64{c.Finding.CavityML, c.Finding.Volumes.Total}, c.volumes()...) {
		if math.IsNaN(ml) || ml < 0 || ml > 1e5 {
			return fmt.Errorf("volume of %g mL: %w", ml, ErrReport)
		}
	}
	for _, s := range v.Sources {
		if !dcm.PlausibleUID(s.SOPClassUID) || !dcm.PlausibleUID(s.SOPInstanceUID) {
			return fmt.Errorf("source image without SOP class or instance UID: %w", ErrReport)
		}
	}
	for _, m := range []*volume.Mask{c.Labels, c.Cavity} {
		if m != nil && (m.Rows != v.Rows || m.Columns != v.Columns || len(m.Voxels) != len(v.HU)) {
			return fmt.Errorf("mask of %d rows, %d columns, %d voxels on a volume of %d, %d, %d: %w",
				m.Rows, m.Columns, len(m.Voxels), v.Rows, v.Columns, len(v.HU), ErrReport)
		}
	}
	return c.scan()
}

// UID derives the UID of one thing of this report from the study, the source series, all its images and the bundle
// digest, so that a repeated analysis names the same objects.
func (c *Report) UID(kind ...string) string {
	parts := append(append([]string{"ichor"}, kind...), c.key...)
	if c.Generation > 0 {
		parts = append(parts, "generation", strconv.Itoa(c.Generation))
	}
	return dcm.DeriveUID(parts...)
}

// LastingUID derives the UID of one thing from the study, the source series and the bundle digest alone: it stays when
// images arrive late and the objects are made anew.
func (c *Report) LastingUID(kind ...string) string {
	return dcm.DeriveUID(append(append([]string{"ichor"}, kind...), c.series...)...)
}

// DeviceUID identifies this device with its networks as an observer (PS3.3 §C.7.5.1, Device UID).
func (c *Report) DeviceUID() string {
	return dcm.DeriveUID("ichor", "device", c.Serial, c.Finding.Bundle.Digest)
}

// Tracking names one thing in SEG and SR (PS3.3 §C.8.20.2, PS3.16 TID 4108), lasting: a hemorrhage stays the same when more
// slices of it arrive.
func (c *Report) Tracking(what string) (id, uid string) {
	return "ichor " + what, c.LastingUID("tracking", what)
}

// Segments lists the subtypes that have voxels, in value order: segment n of the SEG is element n-1.
func (c *Report) Segments() []finding.Subtype { return c.segments }

// BelowFloor reports whether a subtype has only parts that are too small to be reported, beside lesions of other subtypes. Its
// voxels count in the total and are in the segmentation.
func (c *Report) BelowFloor(s finding.Subtype) bool {
	return c.Finding.Volumes.Of(s) < c.Finding.LeastLesionML && len(c.Finding.Lesions) > 0 &&
		!slices.ContainsFunc(c.Finding.Lesions, func(l finding.Lesion) bool { return l.Subtype == s })
}

// CavitySegmented reports whether there is a segmentation of the intracranial cavity.
func (c *Report) CavitySegmented() bool {
	return c.CavitySegment && c.Cavity != nil && slices.ContainsFunc(c.Cavity.Voxels, func(v uint8) bool { return v != 0 })
}

// IntracranialCavity is what is tracked beside the subtypes.
const IntracranialCavity = "intracranial cavity"

// Segmented reports whether there is a segmentation of hemorrhage.
func (c *Report) Segmented() bool { return len(c.segments) > 0 }

// SeriesNumber is that of the series that was read; 0 where it has none.
func (c *Report) SeriesNumber() int {
	if c.Finding.Series == nil {
		return 0
	}
	return c.Finding.Series.Number
}

// OnSlice reports whether a subtype has voxels on slice k.
func (c *Report) OnSlice(s finding.Subtype, k int) bool { return c.present[k][s] }

// scan finds the subtypes of every slice, in one pass over the labels.
func (c *Report) scan() error {
	c.present = make([][len(finding.Kinds) + 1]bool, c.Volume.Slices())
	for k := range c.present {
		for _, l := range c.Labels.Slice(k) {
			if int(l) > len(finding.Kinds) {
				return fmt.Errorf("label value %d, want 0 to %d: %w", l, len(finding.Kinds), ErrReport)
			}
			c.present[k][l] = true
		}
	}
	for _, s := range finding.Kinds {
		for k := range c.present {
			if c.present[k][s] {
				c.segments = append(c.segments, s)
				break
			}
		}
	}
	return nil
}

func (c *Report) volumes() []float64 {
	var out []float64
	for _, s := range finding.Kinds {
		out = append(out, c.Finding.Volumes.Of(s))
	}
	return out
}

func (c *Report) shortDigest() string {
	d := c.Finding.Bundle.Digest
	return cmp.Or(words.Text(d[:min(len(d), 16)], 16), "0")
}
