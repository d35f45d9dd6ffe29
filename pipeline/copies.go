package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"ichor/pipeline/patient"
	"ichor/scp/dcm"
)

// leaveOutEarlierCopies keeps the newest copy of each image that came more than once with other content: the sender corrected
// something. Images come in the order of arrival. A copy has the same UIDs, lies at the same place and has the same number;
// different images under one UID are left to selection.
func (in *images) leaveOutEarlierCopies(r *running) {
	key := func(h *dcm.DataSet) string {
		return strings.Join(append([]string{h.String(dcm.SeriesInstanceUID), h.String(dcm.SOPInstanceUID), h.String(dcm.ReferencedFrameNumber),
			h.String(dcm.InstanceNumber)}, h.Strings(dcm.ImagePositionPatient)...), " ")
	}
	newest := map[string]int{}
	for i, h := range in.headers {
		newest[key(h)] = i
	}
	var headers []*dcm.DataSet
	var of []int
	corrected, attributes := 0, []string(nil)
	for i, h := range in.headers {
		last := newest[key(h)]
		if last == i || h.String(dcm.SOPInstanceUID) == "" {
			headers, of = append(headers, h), append(of, in.of[i])
			continue
		}
		if names := patient.Differences(h, in.headers[last]); len(names) > 0 {
			corrected++
			attributes = append(attributes, names...)
		}
	}
	in.headers, in.of = headers, of
	if corrected > 0 {
		slices.Sort(attributes)
		r.Finding.Corrected = true
		r.Finding.Warnings = append(r.Finding.Warnings, fmt.Sprintf("The patient identification was corrected by the sender: %d images came again under the same UIDs with other values of %s. "+
			"This result was made from the newest copies.", corrected, strings.Join(slices.Compact(attributes), ", ")))
	}
}
