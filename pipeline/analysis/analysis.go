// Package analysis has the result that pipeline.Analyze passes to the writers of result objects.
package analysis

import (
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/nifti"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// Analysis is a finding with the voxels and the header it was made from. It is read-only after Analyze.
type Analysis struct {
	Finding finding.Finding
	Volume  *volume.Volume // nil for a refused study, like the two masks
	Labels  *volume.Mask   // each voxel value is a finding.Subtype
	Cavity  *volume.Mask   // may be nil
	// Header is the header of one image of the analysed series, or of any object of a refused study. If no object can be
	// read, it has only the Study Instance UID.
	Header *dcm.DataSet
	Scan   *nifti.Scan // the file that the volume was read from, if it is NIfTI; nil for DICOM
	Steps  []Step      // in the order in which they began, except for networks
}

// Step is a stage of the analysis, or a network within one.
type Step struct {
	Name       string
	Start, End time.Time
	Runs       int // of a network; 0 for a stage
}
