package sr

import (
	"ichor/reporting/iod"
	"ichor/scp/dcm"
)

// algorithm says what made the measurements of a group, and with which parameters (TID 4019).
func algorithm(c *iod.Report) []*dcm.DataSet {
	b := c.Finding.Bundle
	out := []*dcm.DataSet{
		textItem(hasConceptMod, iod.AlgorithmName, b.Name),
		textItem(hasConceptMod, iod.AlgorithmVersion, b.Version),
	}
	if p := c.AlgorithmParameters(); p != "" {
		out = append(out, textItem(hasConceptMod, iod.AlgorithmParameters, p))
	}
	return out
}
