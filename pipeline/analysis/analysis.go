// Package analysis holds an analysed study on its way from pipeline.Analyze to the writers of result objects.
package analysis

import (
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// Analysis is a finding with the voxels and the header it was made from. It is read-only after Analyze.
type Analysis struct {
	Finding finding.Finding
	Volume  *volume.Volume // nil for a refused study, as the two masks
	Labels  *volume.Mask   // voxel value is a finding.Subtype
	Cavity  *volume.Mask   // may be nil
	// Header is that of one image of the analysed series, or of any object of a refused study. Where no object can be read
	// it holds the Study Instance UID only.
	Header *dcm.DataSet
}
