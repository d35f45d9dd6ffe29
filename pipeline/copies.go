package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"ichor/pipeline/patient"
	"ichor/scp/dcm"
)

// leaveOutEarlierCopies keeps only the newest copy of each image that was received more than once with different content,
// because the sender has corrected it. Images are in order of arrival. Copies have the same UIDs, position and number;
// different images with one UID are handled by selection.
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
		r.Finding.Warnings = append(r.Finding.Warnings, fmt.Sprintf("The sender corrected the patient identification: %d images were received again with the same UIDs and different values of %s. "+
			"This result was made from the newest copies.", corrected, strings.Join(slices.Compact(attributes), ", ")))
	}
}
