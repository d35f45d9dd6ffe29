package selection

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// stack is a part of a series that may be one reading of the head.
type stack struct {
	images  []int  // places in the headers
	all     int    // images of the series
	left    int    // images of the series that are no slices, left out of all its stacks
	why     string // what those are
	parts   int    // stacks of the series
	repeats int    // the same places over and over, as for perfusion; 0 is not so
	apart   string // what else the series holds that may be of the head and is in another stack, a sentence; "" is nothing
	clashes int    // images of the series left out for their SOP Instance UID, see group
}

const (
	maxParts     = 16 // stacks of one series
	dynamicParts = 5  // readings of one place that only a study of time makes
	parallelCos  = 0.9999
	samePlaceMM  = 0.01
	spacingShare = 1e-3
)

// stacks splits a series into what can be read as one stack of slices: slices apart from localizers, pages and reformats,
// originals apart from derived ones, then by orientation, matrix and pixel size, then by whatever tells several readings of
// the same places apart.
func stacks(headers []*dcm.DataSet, images []int) []stack {
	var kinds [3][]int
	left, why := 0, ""
	rows, columns := matrixOf(headers, images)
	for _, i := range images {
		k, said := kindOf(headers[i])
		switch {
		case isPage(headers[i], rows, columns):
			k, said = noSlice, "pages in colour, or of another size and without a place"
		case !isCT(headers[i].String(dcm.SOPClassUID)):
			k, said = noSlice, "objects that are no CT images"
		case k != noSlice && mapOf(headers[i]) != "":
			k, said = noSlice, "maps or renderings"
		}
		kinds[k] = append(kinds[k], i)
		if k == noSlice {
			left, why = left+1, said
		}
	}
	if len(images)-left < 2 {
		return []stack{{images: images, all: len(images)}}
	}
	var out []stack
	for _, k := range []kind{originalSlice, derivedSlice} {
		frames := byFrameOfReference(headers, kinds[k])
		for _, frame := range frames {
			planes := byPlane(headers, frame)
			for p, plane := range planes {
				parts := separate(headers, plane)
				for i := range parts {
					switch other := tilted(headers, planes, p); {
					case len(frames) > 1:
						parts[i].apart = fmt.Sprintf("The series holds images of %d frames of reference (Frame of Reference UID %s), whose positions cannot be put together; "+
							"one was analysed, with %d of %d images.", len(frames), dcm.FrameOfReferenceUID, len(frame), len(kinds[k]))
					case other > 0:
						parts[i].apart = fmt.Sprintf("%d other slices of the series are turned otherwise (Image Orientation (Patient) %s); they may show another part of the head, "+
							"and are not in the result.", other, dcm.ImageOrientationPatient)
					}
				}
				out = append(out, parts...)
			}
		}
	}
	for i := range out {
		out[i].parts, out[i].all = len(out), len(images)
		if left > 0 {
			out[i].left, out[i].why = out[i].left+left, why
		}
	}
	return out
}

// byFrameOfReference keeps images apart whose positions are told in different coordinates (PS3.3 §C.7.4.1.1.1). An image that names
// none belongs to the first; where nearly each has one of its own, a tool has made them up, and they say nothing.
func byFrameOfReference(headers []*dcm.DataSet, images []int) [][]int {
	var named, unnamed []int
	for _, i := range images {
		if headers[i].String(dcm.FrameOfReferenceUID) == "" {
			unnamed = append(unnamed, i)
		} else {
			named = append(named, i)
		}
	}
	groups := byTag(headers, named, dcm.FrameOfReferenceUID)
	if len(groups) < 2 || len(groups) > maxParts || len(groups) > len(images)/5 {
		return [][]int{images}
	}
	groups[0] = append(groups[0], unnamed...)
	return groups
}

// tilted counts the images of other planes than the one with number p that lie across the body, too.
func tilted(headers []*dcm.DataSet, planes [][]int, p int) (n int) {
	this, ok := placeOf(headers[planes[p][0]])
	for k, plane := range planes {
		if other, is := placeOf(headers[plane[0]]); k != p && ok && is && len(plane) > 2 && axial(headers[plane[0]]) && !this.parallel(other) {
			n += len(plane)
		}
	}
	return n
}

// isPage reports whether a CT image can be no slice of a series whose slices have so many rows and columns: it is in colour, or
// does not say where it lies and has another matrix. Some scanners file dose and protocol pages so.
func isPage(h *dcm.DataSet, rows, columns int) bool {
	if n, ok := h.Int(dcm.SamplesPerPixel); ok && n > 1 {
		return true
	}
	_, placed := h.Floats(dcm.ImagePositionPatient)
	return !placed && rows > 0 && (dimension(h, dcm.Rows) != rows || dimension(h, dcm.Columns) != columns)
}

// matrixOf is the matrix of the first image that says where it lies; 0 where none does.
func matrixOf(headers []*dcm.DataSet, images []int) (rows, columns int) {
	for _, i := range images {
		if _, ok := headers[i].Floats(dcm.ImagePositionPatient); ok {
			return dimension(headers[i], dcm.Rows), dimension(headers[i], dcm.Columns)
		}
	}
	return 0, 0
}

// place is where an image lies.
type place struct {
	along, down, origin volume.Vec
	size                [4]float64 // rows, columns, spacing
}

func (p place) normal() volume.Vec { return p.along.Cross(p.down) }

// placeOf reads the geometry of one image; volume.Arrange judges it.
func placeOf(h *dcm.DataSet) (p place, ok bool) {
	pos, okPos := h.Floats(dcm.ImagePositionPatient)
	dir, okDir := h.Floats(dcm.ImageOrientationPatient)
	mm, okMM := h.Floats(dcm.PixelSpacing)
	if !okPos || !okDir || !okMM || len(pos) != 3 || len(dir) != 6 || len(mm) != 2 {
		return place{}, false
	}
	return place{along: volume.Vec(dir[:3]), down: volume.Vec(dir[3:]), origin: volume.Vec(pos),
		size: [4]float64{float64(dimension(h, dcm.Rows)), float64(dimension(h, dcm.Columns)), mm[0], mm[1]}}, true
}

func (p place) parallel(q place) bool {
	return p.along.Dot(q.along) >= parallelCos && p.down.Dot(q.down) >= parallelCos
}

func (p place) sameSize(q place) bool {
	for i := range p.size {
		if math.Abs(p.size[i]-q.size[i]) > spacingShare*p.size[i] {
			return false
		}
	}
	return true
}

// byPlane groups images of one orientation, matrix and pixel size. It leaves them together where a place is missing, and
// where an orientation cannot be that of its images: a stack runs along its normal, not within its plane.
func byPlane(headers []*dcm.DataSet, images []int) [][]int {
	var groups [][]int
	var first, last []place
	for _, i := range images {
		p, ok := placeOf(headers[i])
		if !ok {
			return [][]int{images}
		}
		k := slices.IndexFunc(first, func(q place) bool { return p.parallel(q) && p.sameSize(q) })
		if k < 0 {
			if k = len(groups); k == maxParts {
				return [][]int{images}
			}
			groups, first, last = append(groups, nil), append(first, p), append(last, p)
		}
		groups[k], last[k] = append(groups[k], i), p
	}
	for k := range groups {
		run := last[k].origin.Sub(first[k].origin)
		across := math.Abs(run.Dot(first[k].normal()))
		if len(groups) > 1 && run.Length() > 1 && across < run.Length()/2 {
			return [][]int{images}
		}
	}
	return groups
}

// separate tells apart what lies at the same places: reconstructions first, then points in time.
func separate(headers []*dcm.DataSet, images []int) []stack {
	at := positions(headers, images)
	if at == nil {
		return []stack{{images: images}}
	}
	n := repeats(images, at)
	if whole := withoutSeam(headers, images, at); n == 2 && whole != nil {
		return []stack{{images: whole, left: len(images) - len(whole), why: seam}}
	}
	for _, t := range []dcm.Tag{dcm.ConvolutionKernel, dcm.SliceThickness, dcm.ImageType, dcm.ContrastBolusAgent, dcm.StackID, dcm.KVP} {
		groups := byTag(headers, images, t)
		reconstruction := t == dcm.ConvolutionKernel || t == dcm.SliceThickness
		if n > 1 && tells(groups, n, at) || n == 1 && reconstruction && sideBySide(groups, at) {
			return each(headers, groups)
		}
	}
	if n == 1 {
		for _, t := range []dcm.Tag{dcm.AcquisitionNumber, dcm.IrradiationEventUID, dcm.AcquisitionTime} {
			if groups := byTag(headers, images, t); sideBySide(groups, at) { // two scans of the head, whose slices lie between each other
				out := each(headers, groups)
				for i := range out {
					out[i].apart = fmt.Sprintf("The series holds %d scans of the same part of the body, whose slices lie between each other; one was analysed.", len(groups))
				}
				return out
			}
		}
		return []stack{{images: images}}
	}
	if n >= dynamicParts {
		return []stack{{images: images, repeats: n}}
	}
	for _, t := range []dcm.Tag{dcm.TemporalPositionIdentifier, dcm.AcquisitionNumber} {
		if groups := byTag(headers, images, t); tells(groups, n, at) {
			return each(headers, groups)
		}
	}
	if groups := inTime(headers, images, at); len(groups) == n {
		return each(headers, groups)
	}
	return []stack{{images: images}}
}

const seam = "slices at a place where one block of the scan ends and another begins"

// withoutSeam drops one of two slices where a block of the scan (an acquisition) ends at the place where the next begins; nil where
// it is otherwise. Blocks are parts of one reading: each alone would be half a head.
func withoutSeam(headers []*dcm.DataSet, images []int, at map[int]float64) (whole []int) {
	blocks := byTag(headers, images, dcm.AcquisitionNumber)
	if len(blocks) < 2 || len(blocks) > maxParts {
		return nil
	}
	for b, group := range blocks {
		lo, hi := span(group, at)
		for _, other := range blocks[:b] {
			if from, to := span(other, at); math.Min(hi, to)-math.Max(lo, from) >= samePlaceMM || repeats(group, at) > 1 {
				return nil // they run beside each other
			}
		}
	}
	sorted := slices.SortedStableFunc(slices.Values(images), func(a, b int) int {
		return cmp.Or(cmp.Compare(math.Round(at[a]/samePlaceMM), math.Round(at[b]/samePlaceMM)), cmp.Compare(headers[a].String(dcm.SOPInstanceUID), headers[b].String(dcm.SOPInstanceUID)))
	})
	for k, i := range sorted {
		if k > 0 && at[i]-at[sorted[k-1]] < samePlaceMM {
			continue
		}
		whole = append(whole, i)
	}
	if len(images)-len(whole) > len(images)/8 {
		return nil
	}
	return whole
}

func each(headers []*dcm.DataSet, groups [][]int) (out []stack) {
	for _, g := range groups {
		out = append(out, separate(headers, g)...)
	}
	return out
}

// positions are the distances of images along their normal, by place in headers; nil where one has none.
func positions(headers []*dcm.DataSet, images []int) map[int]float64 {
	at := make(map[int]float64, len(images))
	var normal volume.Vec
	for k, i := range images {
		p, ok := placeOf(headers[i])
		if !ok {
			return nil
		}
		if k == 0 {
			normal = p.normal()
		}
		at[i] = p.origin.Dot(normal)
	}
	return at
}

// repeats is the most images that lie at one place.
func repeats(images []int, at map[int]float64) int {
	sorted := slices.SortedFunc(slices.Values(images), func(a, b int) int { return cmp.Compare(at[a], at[b]) })
	most, n := 1, 1
	for k := 1; k < len(sorted); k++ {
		if at[sorted[k]]-at[sorted[k-1]] < samePlaceMM {
			n++
		} else {
			n = 1
		}
		most = max(most, n)
	}
	return most
}

// byTag groups images by the value of an attribute, in the order of first appearance.
func byTag(headers []*dcm.DataSet, images []int, t dcm.Tag) [][]int {
	var out [][]int
	place := map[string]int{}
	for _, i := range images {
		key := fmt.Sprintf("%q", headers[i].Strings(t))
		k, ok := place[key]
		if !ok {
			k = len(out)
			place[key] = k
			out = append(out, nil)
		}
		out[k] = append(out[k], i)
	}
	return out
}

// tells reports whether groups are readings of the same places: each has fewer images at one place than the n that all have
// together. A scanner that counts every turn as an acquisition makes many groups that are no readings.
func tells(groups [][]int, n int, at map[int]float64) bool {
	if len(groups) < 2 || len(groups) > maxParts {
		return false
	}
	largest, all := 0, 0
	for _, g := range groups {
		if repeats(g, at) >= n {
			return false
		}
		largest, all = max(largest, len(g)), all+len(g)
	}
	return largest >= all/n/2
}

// sideBySide reports whether two groups cover the same part of the body with no place in common, as thin slices between
// thick ones. One that goes on where another ends (thin slices through the base of the skull) belongs to it.
func sideBySide(groups [][]int, at map[int]float64) bool {
	if len(groups) > maxParts {
		return false
	}
	for k, g := range groups {
		for _, other := range groups[:k] {
			lo, hi := span(g, at)
			otherLo, otherHi := span(other, at)
			shared := math.Min(hi, otherHi) - math.Max(lo, otherLo)
			if min(len(g), len(other)) >= 5 && shared > math.Min(hi-lo, otherHi-otherLo)/2 {
				return true
			}
		}
	}
	return false
}

func span(images []int, at map[int]float64) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, i := range images {
		lo, hi = math.Min(lo, at[i]), math.Max(hi, at[i])
	}
	return lo, hi
}

// when an image was acquired, as DICOM writes it.
func when(h *dcm.DataSet) string {
	return cmp.Or(h.String(dcm.AcquisitionDateTime), h.String(dcm.AcquisitionDate)+h.String(dcm.AcquisitionTime), h.String(dcm.ContentTime))
}

// inTime follows images in the order in which they were acquired; coming back to a place begins the next reading.
func inTime(headers []*dcm.DataSet, images []int, at map[int]float64) [][]int {
	clock := func(i int) string { return when(headers[i]) }
	sorted := slices.SortedStableFunc(slices.Values(images), func(a, b int) int { return cmp.Compare(clock(a), clock(b)) })
	if clock(sorted[0]) == clock(sorted[len(sorted)-1]) {
		return nil
	}
	var out [][]int
	var taken map[int]bool
	for _, i := range sorted {
		cell := int(math.Round(at[i] / samePlaceMM))
		if len(out) == 0 || taken[cell] {
			if len(out) == maxParts {
				return nil
			}
			out, taken = append(out, nil), map[int]bool{}
		}
		out[len(out)-1], taken[cell] = append(out[len(out)-1], i), true
	}
	return out
}
