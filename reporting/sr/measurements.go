package sr

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"ichor/pipeline/finding"
	"ichor/reporting/iod"
	"ichor/reporting/seg"
	"ichor/reporting/words"
	"ichor/scp/dcm"
)

// measurements are the Measurement Groups:
//
//	total volume of all subtypes        TID 1501
//	one a subtype: segment, volume      TID 1411, if it has a lesion above the reporting floor
//	one a lesion: the segment of its subtype, site and side, volume, long and short axis   TID 1411
//	volume of the intracranial cavity   TID 1501, with a segment TID 1411
func measurements(c *iod.Report) []*dcm.DataSet {
	f := c.Finding
	segment := map[finding.Subtype]int{}
	below := []string{}
	for i, s := range c.Segments() {
		if segment[s] = i + 1; c.BelowFloor(s) {
			below = append(below, s.String())
		}
	}
	all := region{what: "all hemorrhage", found: iod.IntracranialHemorrhage, sites: sites("", iod.Brain),
		measured: []*dcm.DataSet{volume(f.Volumes.Total, f.Range, finding.None)}}
	if len(below) > 0 {
		all.comment = fmt.Sprintf("With parts below %s mL, which are not reported: %s.", strconv.FormatFloat(f.LeastLesionML, 'g', 2, 64), strings.Join(below, ", "))
	}
	out := []*dcm.DataSet{group(c, all)}
	for i, s := range c.Segments() {
		if c.BelowFloor(s) {
			continue
		}
		look := c.Look(s)
		out = append(out, group(c, region{what: s.String(), found: look.Type, sites: sites("", look.Region), in: seg.Reference(c), segment: i + 1,
			comment: look.Label + " (" + s.String() + ")", measured: []*dcm.DataSet{volume(f.Volumes.Of(s), f.Range, s)}}))
	}
	nth := map[finding.Subtype]int{}
	for _, l := range f.Lesions {
		if segment[l.Subtype] == 0 {
			continue // a finding whose lesions are not those of its labels
		}
		nth[l.Subtype]++
		out = append(out, group(c, region{what: fmt.Sprintf("%s %d", l.Subtype, nth[l.Subtype]), found: c.Look(l.Subtype).Type,
			sites: sites(l.Side, c.Sites(l)...), in: seg.Reference(c), segment: segment[l.Subtype],
			comment: words.Lesion(l, c.SeriesNumber()), measured: sizes(l)}))
	}
	if c.Cavity != nil {
		look := c.CavityLook()
		cavity := region{what: iod.IntracranialCavity, found: look.Type, sites: sites("", look.Region),
			measured: []*dcm.DataSet{volume(f.CavityML, nil, finding.None)}}
		if c.CavitySegmented() {
			cavity.in, cavity.segment = seg.CavityReference(c), 1
		}
		out = append(out, group(c, cavity))
	}
	return out
}

// region is something that was measured.
type region struct {
	what     string // as it is tracked
	found    iod.Code
	sites    []*dcm.DataSet
	in       iod.SeriesReferences // the segmentation that shows it
	segment  int                  // its number there; 0 where no segment stands for it
	comment  string
	measured []*dcm.DataSet
}

// group is a measurement group: that of a volumetric region of interest where there is a segment, TID 1411, else TID 1501.
// TID 1411 allows one segment, which is that of the whole subtype for a lesion as well.
func group(c *iod.Report, r region) *dcm.DataSet {
	tracking, uid := c.Tracking(r.what)
	items := []*dcm.DataSet{
		textItem(hasObsContext, iod.TrackingIdentifier, tracking),
		uidItem(hasObsContext, iod.TrackingUniqueIdentifier, uid),
		codeItem(contains, iod.Finding, r.found),
	}
	id := "1501"
	if r.segment > 0 {
		id = "1411"
		segment := r.in.Instances[0].Item()
		segment.SetInts(dcm.ReferencedSegmentNumber, "US", int64(r.segment))
		items = append(items, imageItem(iod.ReferencedSegment, segment), uidItem(contains, iod.SourceSeries, c.Volume.SeriesInstanceUID))
	}
	items = append(append(items, r.sites...), r.measured...)
	if r.comment != "" {
		items = append(items, Text(iod.Comment, r.comment))
	}
	return template(container(contains, iod.MeasurementGroup, items...), id)
}

// sites are finding sites, each with the side (TID 1419).
func sites(side finding.Side, codes ...iod.Code) []*dcm.DataSet {
	var out []*dcm.DataSet
	for _, code := range codes {
		site := codeItem(hasConceptMod, iod.FindingSite, code)
		of := side
		if code == iod.ThirdVentricle || code == iod.FourthVentricle { // beside a lateral one, whose side is that of the lesion
			of = finding.Midline
		}
		if laterality, ok := iod.LateralityOf(of); ok {
			site.SetSequence(dcm.ContentSequence, codeItem(hasConceptMod, iod.Laterality, laterality))
		}
		out = append(out, site)
	}
	return out
}

// volume is a volume and, where there is one, its range as the uncertainty on either side (TID 310). Both are rounded to
// what is known; finding.json has them in full.
func volume(ml float64, r *finding.Range, of finding.Subtype) *dcm.DataSet {
	d := numItem(contains, iod.Volume, words.Rounded(ml), iod.Milliliter)
	if r != nil {
		away := func(far float64) string {
			return strconv.FormatFloat(math.Round(10*math.Abs(rounded(far)-rounded(ml)))/10, 'f', -1, 64)
		}
		d.SetSequence(dcm.ContentSequence,
			numItem(hasProperties, iod.UpperUncertainty, away(r.High.Of(of)), iod.Milliliter),
			numItem(hasProperties, iod.LowerUncertainty, away(r.Low.Of(of)), iod.Milliliter))
	}
	return d
}

// rounded is the number that words.Rounded writes, so that value and uncertainty add up to the range in the text.
func rounded(ml float64) float64 {
	v, _ := strconv.ParseFloat(words.Rounded(ml), 64) // a number it wrote itself
	return v
}

// sizes are the volume of a lesion and, where they were measured, its axes.
func sizes(l finding.Lesion) []*dcm.DataSet {
	out := []*dcm.DataSet{volume(l.VolumeML, nil, l.Subtype)}
	for _, axis := range []struct {
		name iod.Code
		mm   float64
	}{{iod.LongAxis, l.MaxDiameterMM}, {iod.ShortAxis, l.WidthMM}} {
		if axis.mm > 0 {
			out = append(out, numItem(contains, axis.name, strconv.FormatFloat(axis.mm, 'f', 0, 64), iod.Millimeter))
		}
	}
	return out
}
