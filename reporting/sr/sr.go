// Package sr writes the structured report: Comprehensive 3D SR (PS3.3 §A.35.13) after TID 1500, Measurement Report
// (PS3.16 §A).
//
//	Imaging Measurement Report
//	├── language, device observer, procedure reported
//	├── disclaimer, the finding in a sentence, the limits of detection
//	├── Image Library            the analysed images                            (not in a refused study)
//	├── Imaging Measurements     see measurements.go                            (not in a refused study)
//	└── Qualitative Evaluations  detected or not detected, range, lesions, change since the prior; or why the
//	                             study was refused; warnings, algorithm
package sr

import (
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

// content is the tree below the root. What a reader needs comes before the links to the images; then follows the order of
// TID 1500, to which other items may be added.
func content(c *iod.Report) []*dcm.DataSet {
	procedure := iod.CTOfHead
	if c.Volume == nil {
		procedure = iod.ImagingProcedure // a refused study may be anything
	}
	out := append(Observer(c), codeItem(hasConceptMod, iod.ProcedureReported, procedure), Text(iod.Comment, finding.Disclaimer))
	f := c.Finding
	if f.Bundle.Caution != "" {
		out = append(out, Text(iod.Comment, words.Text(f.Bundle.Caution, 1000)))
	}
	switch {
	case f.Status == finding.Refused:
		out = append(out, Text(iod.Summary, "This study was not analyzed: "+words.NotAnalyzed(f)))
	case len(c.Segments()) == 0:
		out = append(out, Text(iod.Summary, words.NotDetected), Text(iod.Comment, words.Limits(f)))
	default:
		out = append(out, Text(iod.Summary, words.Found(f)), Text(iod.Comment, words.Limits(f)))
	}
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

// evaluations are what is not a number, and all measurements once more in sentences.
func evaluations(c *iod.Report) []*dcm.DataSet {
	f := c.Finding
	var out []*dcm.DataSet
	comment := func(s string) { out = append(out, Text(iod.Comment, s)) }
	switch {
	case f.Status == finding.Refused:
		out = append(out, codeItem(contains, iod.ProcessingSummary, iod.NoneSucceededNoFindings))
		if code := words.Text(f.Code, 64); code != "" {
			comment("Refusal code: " + code)
		}
	case len(c.Segments()) == 0:
		out = append(out,
			codeItem(contains, iod.ProcessingSummary, iod.SucceededWithoutFindings),
			codeItem(contains, iod.IntracranialHemorrhage, iod.NotDetected))
		if f.Range != nil {
			if doubt := words.Doubt(*f.Range); doubt != "" {
				comment(doubt)
			}
		}
	default:
		out = append(out,
			codeItem(contains, iod.ProcessingSummary, iod.SucceededWithFindings),
			codeItem(contains, iod.IntracranialHemorrhage, iod.Detected))
		if f.Range != nil {
			comment(words.Bounds(*f.Range))
		}
		for _, l := range words.Lesions(f.Lesions, c.SeriesNumber(), mostLesions) {
			comment(l)
		}
	}
	if f.Prior != nil {
		comment(words.Change(*f.Prior))
	}
	for _, w := range f.Warnings {
		comment("Warning: " + words.Text(w, 1000))
	}
	return append(out, algorithm(c)...)
}
