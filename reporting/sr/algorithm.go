package sr

import (
	"ichor/reporting/iod"
	"ichor/scp/dcm"
)

// algorithm says once, for the whole report, what made it and with which parameters (the items of TID 4019).
func algorithm(c *iod.Report) []*dcm.DataSet {
	b := c.Finding.Bundle
	out := []*dcm.DataSet{
		textItem(contains, iod.AlgorithmName, b.Name),
		textItem(contains, iod.AlgorithmVersion, b.Version),
	}
	if p := c.AlgorithmParameters(); p != "" {
		out = append(out, textItem(contains, iod.AlgorithmParameters, p))
	}
	return out
}
