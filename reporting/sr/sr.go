// Package sr writes the structured report: Comprehensive 3D SR (PS3.3 §A.35.13) after TID 1500, Measurement Report
// (PS3.16 §A).
//
//	Imaging Measurement Report
//	├── language, device observer, procedure reported
//	├── Image Library            the analysed images                              (not in a refused study)
//	├── Imaging Measurements
//	│   ├── Measurement Group    one a subtype: segment, source series, volume   (TID 1411)
//	│   ├── Measurement Group    total volume of all subtypes                    (TID 1501)
//	│   └── Measurement Group    volume of the intracranial cavity               (TID 1501)
//	└── Qualitative Evaluations  present or absent, lesions, range, change since the prior; or why the study
//	                             was refused; warnings, the disclaimer
package sr

import (
	"strconv"

	"ichor/pipeline/finding"
	"ichor/reporting/iod"
	"ichor/reporting/seg"
	"ichor/reporting/words"
	"ichor/scp/dcm"
)

// word names the object in derived UIDs and in the series description.
const word = "SR"

// mostLesions are described one by one; crumbs beyond them would bury what matters.
const mostLesions = 20

// DataSet makes the report of c.
func DataSet(c *iod.Report) *dcm.DataSet {
	d := Root(iod.ImagingMeasurementReport, "1500", content(c)...)
	c.Patient(d)
	c.Study(d)
	c.Series(d, "SR", word, false)
	c.Equipment(d)
	c.SOPCommon(d, dcm.Comprehensive3DSRStorage, word, 1)
	document(d, c)
	return d
}

// document fills the SR Document General module (PS3.3 §C.17.2). Nobody has verified the report.
func document(d *dcm.DataSet, c *iod.Report) {
	d.SetStrings(dcm.CompletionFlag, "CS", "COMPLETE")
	d.SetStrings(dcm.VerificationFlag, "CS", "UNVERIFIED")
	d.SetSequence(dcm.PerformedProcedureCodeSequence)
	var evidence []iod.SeriesReferences
	if c.Volume != nil {
		evidence = append(evidence, iod.SeriesReferences{SeriesInstanceUID: c.Volume.SeriesInstanceUID, Instances: c.Sources()})
	} else if r, ok := refusedObject(c); ok {
		evidence = append(evidence, r)
	}
	if c.Segmented() {
		evidence = append(evidence, seg.Reference(c))
	}
	if c.CavitySegmented() {
		evidence = append(evidence, seg.CavityReference(c))
	}
	if len(c.Predecessors) > 0 {
		d.SetSequence(dcm.PredecessorDocumentsSequence, c.Evidence(c.Predecessors...))
	}
	if len(evidence) > 0 {
		d.SetSequence(dcm.CurrentRequestedProcedureEvidenceSequence, c.Evidence(evidence...))
	}
}

// refusedObject is the one object of a refused study that we know to exist.
func refusedObject(c *iod.Report) (iod.SeriesReferences, bool) {
	series, class, instance := c.Header.String(dcm.SeriesInstanceUID), c.Header.String(dcm.SOPClassUID), c.Header.String(dcm.SOPInstanceUID)
	if !dcm.PlausibleUID(series) || !dcm.PlausibleUID(class) || !dcm.PlausibleUID(instance) {
		return iod.SeriesReferences{}, false
	}
	return iod.SeriesReferences{SeriesInstanceUID: series,
		Instances: []iod.Reference{{SOPClassUID: class, SOPInstanceUID: instance}}}, true
}

// content is the tree below the root, in the order of TID 1500.
func content(c *iod.Report) []*dcm.DataSet {
	procedure := iod.CTOfHead
	if c.Volume == nil {
		procedure = iod.ImagingProcedure // a refused study may be anything
	}
	out := append(Observer(c), codeItem(hasConceptMod, iod.ProcedureReported, procedure))
	if c.Volume != nil {
		out = append(out, imageLibrary(c), container(contains, iod.ImagingMeasurements, measurements(c)...))
	}
	return append(out, container(contains, iod.QualitativeEvaluations, evaluations(c)...))
}

// Observer says in which language a document is written, and by which device.
func Observer(c *iod.Report) []*dcm.DataSet {
	return []*dcm.DataSet{
		codeItem(hasConceptMod, iod.Language, iod.English),    // TID 1204
		codeItem(hasObsContext, iod.ObserverType, iod.Device), // TID 1002, 1004
		uidItem(hasObsContext, iod.DeviceObserverUID, c.DeviceUID()),
		textItem(hasObsContext, iod.DeviceObserverName, iod.Manufacturer),
		textItem(hasObsContext, iod.DeviceObserverMaker, iod.Manufacturer),
		textItem(hasObsContext, iod.DeviceObserverModel, c.Model()),
		textItem(hasObsContext, iod.DeviceObserverSerial, c.Serial),
	}
}

// imageLibrary lists the analysed images (TID 1600).
func imageLibrary(c *iod.Report) *dcm.DataSet {
	group := []*dcm.DataSet{
		codeItem(hasAcqContext, iod.Modality, iod.CT), // TID 1602
		codeItem(hasAcqContext, iod.TargetRegion, iod.Head),
	}
	for _, r := range c.Sources() {
		group = append(group, imageItem(iod.Code{}, r.Item()))
	}
	return template(container(contains, iod.ImageLibrary, container(contains, iod.ImageLibraryGroup, group...)), "1600")
}

func measurements(c *iod.Report) []*dcm.DataSet {
	var out []*dcm.DataSet
	for i, s := range c.Segments() {
		look := c.Look(s)
		out = append(out, roi(c, region{s.String(), look.Type, look.Region, look.Label + " (" + s.String() + ")",
			c.Finding.Volumes.Of(s)}, seg.Reference(c), i+1))
	}
	out = append(out, whole(c, region{"all hemorrhage", iod.IntracranialHemorrhage, iod.Brain, "", c.Finding.Volumes.Total}))
	if c.Cavity != nil {
		look := c.CavityLook()
		cavity := region{iod.IntracranialCavity, look.Type, look.Region, "", c.Finding.CavityML}
		if c.CavitySegmented() {
			out = append(out, roi(c, cavity, seg.CavityReference(c), 1))
		} else {
			out = append(out, whole(c, cavity))
		}
	}
	return out
}

// region is something that has a volume.
type region struct {
	what        string // as it is tracked
	found, site iod.Code
	comment     string
	volumeML    float64
}

// roi is the measurement group of a segment: its number in a SEG and its volume (TID 1411).
func roi(c *iod.Report, r region, in iod.SeriesReferences, number int) *dcm.DataSet {
	segment := in.Instances[0].Item()
	segment.SetInts(dcm.ReferencedSegmentNumber, "US", int64(number))
	return group(c, r, "1411",
		imageItem(iod.ReferencedSegment, segment),
		uidItem(contains, iod.SourceSeries, c.Volume.SeriesInstanceUID))
}

// whole is the measurement group of a volume that no segment stands for (TID 1501).
func whole(c *iod.Report, r region) *dcm.DataSet { return group(c, r, "1501") }

func group(c *iod.Report, r region, id string, references ...*dcm.DataSet) *dcm.DataSet {
	tracking, uid := c.Tracking(r.what)
	items := []*dcm.DataSet{
		textItem(hasObsContext, iod.TrackingIdentifier, tracking),
		uidItem(hasObsContext, iod.TrackingUniqueIdentifier, uid),
		codeItem(contains, iod.Finding, r.found),
		codeItem(hasConceptMod, iod.FindingSite, r.site),
	}
	items = append(items, algorithm(c)...)
	items = append(items, references...)
	items = append(items, numItem(iod.Volume, milliliters(r.volumeML), iod.Milliliter))
	if r.comment != "" {
		items = append(items, textItem(contains, iod.Comment, r.comment))
	}
	return template(container(contains, iod.MeasurementGroup, items...), id)
}

// evaluations say in words and codes what the measurements mean.
func evaluations(c *iod.Report) []*dcm.DataSet {
	f := c.Finding
	out := []*dcm.DataSet{textItem(contains, iod.Comment, finding.Disclaimer)}
	if f.Bundle.Caution != "" {
		out = append(out, textItem(contains, iod.Comment, words.Text(f.Bundle.Caution, 1000)))
	}
	switch {
	case f.Status == finding.Refused:
		out = append(out,
			codeItem(contains, iod.ProcessingSummary, iod.NoneSucceededNoFindings),
			textItem(contains, iod.Comment, "The study was not analyzed: "+orNone(words.Text(f.Reason, 1000))),
			textItem(contains, iod.Comment, "Refusal code: "+orNone(words.Text(f.Code, 64))))
	case len(c.Segments()) == 0:
		out = append(out,
			codeItem(contains, iod.ProcessingSummary, iod.SucceededWithoutFindings),
			codeItem(contains, iod.IntracranialHemorrhage, iod.Absent),
			textItem(contains, iod.Comment, "No hemorrhage found."))
		if f.Range != nil && words.Doubt(*f.Range) != "" {
			out = append(out, textItem(contains, iod.Comment, words.Doubt(*f.Range)))
		}
	default:
		out = append(out,
			codeItem(contains, iod.ProcessingSummary, iod.SucceededWithFindings),
			codeItem(contains, iod.IntracranialHemorrhage, iod.Present),
			textItem(contains, iod.Comment, "Hemorrhage found: "+lesions(len(f.Lesions))+", "+words.Milliliters(f.Volumes.Total)+" mL in total."))
		if f.Range != nil {
			out = append(out, textItem(contains, iod.Comment, words.Bounds(*f.Range)))
		}
		for _, l := range words.Lesions(f.Lesions, mostLesions) {
			out = append(out, textItem(contains, iod.Comment, l))
		}
		if len(f.Lesions) > 0 {
			out = append(out, textItem(contains, iod.Comment, "Slices are counted from the feet of the patient, beginning with 1; images may be numbered otherwise."))
		}
	}
	if f.Prior != nil {
		out = append(out, textItem(contains, iod.Comment, words.Change(*f.Prior)))
	}
	for _, w := range f.Warnings {
		out = append(out, textItem(contains, iod.Comment, "Warning: "+words.Text(w, 1000)))
	}
	out = append(out, textItem(contains, iod.AlgorithmName, f.Bundle.Name), textItem(contains, iod.AlgorithmVersion, f.Bundle.Version))
	if p := c.AlgorithmParameters(); p != "" {
		out = append(out, textItem(contains, iod.AlgorithmParameters, p))
	}
	return out
}

// lesions counts them; of crumbs none is listed.
func lesions(n int) string {
	if n == 0 {
		return "no lesion that is large enough to be listed"
	}
	return strconv.Itoa(n) + " connected lesion(s)"
}

func orNone(s string) string {
	if s == "" {
		return "no reason given"
	}
	return s
}

// milliliters writes a volume with a microlitre's resolution: less is noise, more would be read as precision.
func milliliters(v float64) string { return strconv.FormatFloat(v, 'f', 3, 64) }
