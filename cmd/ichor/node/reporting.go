package node

import (
	"path/filepath"
	"slices"

	"ichor/config"
	"ichor/pipeline/finding"
	"ichor/reporting"
	"ichor/reporting/iod"
	"ichor/reporting/outcome"
)

// ReportingOptions returns the site's settings for result objects. version is the version of ichor.
func ReportingOptions(c config.Config, version string) reporting.Options {
	o := reporting.Options{
		Version:       version,
		Looks:         iod.Looks{},
		CavitySegment: c.Reporting.CavitySegment,
		NoKeyObjects:  !c.Reporting.KeyObjects,
		NoOverlay:     !c.Reporting.OverlaySeries,
		LabelMap:      slices.ContainsFunc(c.Destinations, func(d config.Destination) bool { return formOf(d) == reporting.LabelMap }),
		Names:         iod.SeriesNames{},
	}
	for _, s := range c.Reporting.Series {
		o.Names[s.Object] = iod.SeriesName{Number: s.Number, Description: s.Description}
	}
	for i := range c.Reporting.Segments {
		g := &c.Reporting.Segments[i]
		rgb, _ := g.RGB()
		o.Looks[g.Subtype] = iod.Look{
			Label:  g.Label,
			Type:   iod.Code{Value: g.CodeValue, Scheme: g.CodeScheme, Meaning: g.CodeMeaning},
			Region: iod.Code{Value: g.RegionValue, Scheme: g.RegionScheme, Meaning: g.RegionMeaning},
			Color:  rgb,
		}
	}
	return o
}

// resultsDir returns the folder for objects to deliver.
func resultsDir(c config.Config) string { return filepath.Join(c.State, "results") }

func (n *Node) resultOptions(version string) outcome.Options {
	o := outcome.Options{
		State: n.store, Dir: resultsDir(n.config), Reporting: ReportingOptions(n.config, version), Logger: n.log, Now: now,
		Reported: func(f finding.Finding) bool { return isReported(f, n.config.Reporting.Refusals) },
		Wake:     func() { n.deliverer.Wake() },
		Route:    n.route,
	}
	for _, d := range n.config.Destinations {
		o.Destinations = append(o.Destinations, outcome.Destination{Name: d.Name, Form: formOf(d), Commitment: d.Commitment, RejectionNote: d.RejectionNote})
	}
	o.Destinations = append(o.Destinations, outcome.Destination{Name: n.canary.destination()})
	return o
}

// isReported reports whether the site wants result objects for this finding. A study whose files are all damaged may be
// a CT.
func isReported(f finding.Finding, refusals string) bool {
	if f.Status != finding.Refused {
		return true
	}
	switch refusals {
	case config.RefusalsAll:
		return true
	case config.RefusalsNone:
		return false
	}
	isCT := func(c finding.Candidate) bool { return c.Modality == "CT" }
	return len(f.Candidates) == 0 || slices.ContainsFunc(f.Candidates, isCT)
}

// formOf returns the form of segmentation that a destination wants.
func formOf(d config.Destination) reporting.Form {
	if d.Segmentation == config.LabelMap {
		return reporting.LabelMap
	}
	return reporting.Binary
}
