package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ichor/pipeline/finding"
	"ichor/pipeline/patient"
	"ichor/scp/dcm"
)

// leaveOutEarlierCopies keeps only the newest copy of each image that was received more than once with different content,
// because the sender has corrected it. Images are in order of arrival. Copies have the same UIDs, position and number;
// different images with one UID are handled by selection.
func (in *images) leaveOutEarlierCopies(r *running) {
	newest := map[string]int{}
	for i, h := range in.headers {
		newest[imageKey(h)] = i
	}
	var headers []*dcm.DataSet
	var of []int
	corrected, attributes := 0, []string(nil)
	for i, h := range in.headers {
		last := newest[imageKey(h)]
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

// imageKey is the same for all copies of an image.
func imageKey(h *dcm.DataSet) string {
	return strings.Join(append([]string{h.String(dcm.SeriesInstanceUID), h.String(dcm.SOPInstanceUID), h.String(dcm.ReferencedFrameNumber),
		h.String(dcm.InstanceNumber)}, h.Strings(dcm.ImagePositionPatient)...), " ")
}

// pixels decodes the object of image i. If that cannot be decoded, it takes another copy of the image, such as that of a folder
// that was copied twice, the first time in part.
func (in *images) pixels(ctx context.Context, i int, d Decoder, name string) ([]byte, error) {
	raw, err := pixels(ctx, in.objects[in.of[i]], d, name)
	if err == nil || !errors.As(err, new(*finding.Refusal)) {
		return raw, err
	}
	h := in.headers[i]
	for k, other := range in.headers {
		if in.of[k] == in.of[i] || imageKey(other) != imageKey(h) || h.String(dcm.SOPInstanceUID) == "" || !sameCells(h, other) {
			continue
		}
		if again, othersErr := pixels(ctx, in.objects[in.of[k]], d, name); othersErr == nil {
			in.replaced.Add(int32(in.objects[in.of[i]].frames))
			return again, nil
		}
	}
	return nil, err
}

// sameCells reports whether two headers describe pixels alike.
func sameCells(a, b *dcm.DataSet) bool {
	return !slices.ContainsFunc([]dcm.Tag{dcm.Rows, dcm.Columns, dcm.SamplesPerPixel, dcm.BitsAllocated, dcm.BitsStored, dcm.HighBit, dcm.PixelRepresentation,
		dcm.PhotometricInterpretation, dcm.RescaleSlope, dcm.RescaleIntercept}, func(t dcm.Tag) bool {
		x, _ := a.Get(t)
		y, _ := b.Get(t)
		return fmt.Sprint(x.Value) != fmt.Sprint(y.Value)
	})
}
