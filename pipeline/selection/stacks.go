package selection

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// stack is a part of a series that may be one scan of the head.
type stack struct {
	images  []int  // indices of headers
	all     int    // images of the series
	left    int    // images of the series that are not slices, in none of its stacks
	why     string // what these are
	parts   int    // stacks of the series
	repeats int    // how often the same positions were scanned, as for perfusion; 0: once
	apart   string // sentence about other images of the head in another stack of the series; "" for none
	beside  string // sentence about images of the series that lie between the slices and have another size or orientation; "" for none
	clashes int    // images of the series not used because of their SOP Instance UID, see group
}

const (
	maxParts     = 16 // stacks of one series
	dynamicParts = 5  // scans of one position that occur only in dynamic studies
	parallelCos  = 0.9999
	samePlaceMM  = 0.01
	spacingShare = 1e-3
)

// stacks splits a series into stacks of slices: it separates slices from localizers, pages and reformats, original from derived
// ones, then by orientation, matrix and pixel size, then by any attribute that distinguishes several scans of the same positions.
func stacks(headers []*dcm.DataSet, images []int) []stack {
	var kinds [3][]int
	left, why := 0, ""
	rows, columns := matrixOf(headers, images)
	for _, i := range images {
		k, said := kindOf(headers[i])
		switch {
		case isPage(headers[i], rows, columns):
			k, said = noSlice, "pages in colour, or of another size and without a position"
		case !isCT(headers[i].String(dcm.SOPClassUID)):
			k, said = noSlice, "objects other than CT images"
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
				beside := between(headers, planes, p)
				for i := range parts {
					parts[i].beside = beside
					switch other := tilted(headers, planes, p); {
					case len(frames) > 1:
						parts[i].apart = fmt.Sprintf("The series contains images of %d frames of reference (Frame of Reference UID %s), whose positions cannot be combined; "+
							"one was analysed, with %d of %d images.", len(frames), dcm.FrameOfReferenceUID, len(frame), len(kinds[k]))
					case other > 0:
						parts[i].apart = fmt.Sprintf("%d other slices of the series have another orientation (Image Orientation (Patient) %s); they may show another part of the head, "+
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

// byFrameOfReference separates images whose positions are in different coordinate systems (PS3.3 §C.7.4.1.1.1). An image without
// frame of reference belongs to the first one. If almost every image has its own, a tool invented them, and they are ignored.
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

// tilted counts the axial images in planes other than planes[p].
func tilted(headers []*dcm.DataSet, planes [][]int, p int) (n int) {
	this, ok := placeOf(headers[planes[p][0]])
	for k, plane := range planes {
		if other, is := placeOf(headers[plane[0]]); k != p && ok && is && len(plane) > 2 && axial(headers[plane[0]]) && !this.parallel(other) {
			n += len(plane)
		}
	}
	return n
}

// between names the images of fewer slices that lie within the extent of planes[p] but differ in pixel size, matrix or
// orientation, so that they leave a gap in its stack.
func between(headers []*dcm.DataSet, planes [][]int, p int) string {
	this, ok := placeOf(headers[planes[p][0]])
	if !ok || len(planes) < 2 {
		return ""
	}
	lo, hi := span(planes[p], positions(headers, planes[p]))
	n, said := 0, ""
	for k, plane := range planes {
		if k == p || len(plane) >= len(planes[p]) {
			continue
		}
		for _, i := range plane {
			other, ok := placeOf(headers[i])
			if z := other.origin.Dot(this.normal()); !ok || z <= lo || z >= hi || len(plane) > 2 && !other.parallel(this) { // reformats are no slices of it
				continue
			}
			if n++; n == 1 {
				said = fmt.Sprintf("%s has %s", volume.Name(headers[i], i), difference(other, this))
			}
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		return said + ". It is not in the result."
	}
	return fmt.Sprintf("%s, and %d other images between the slices differ as well. They are not in the result.", said, n-1)
}

// difference says how a differs from b, the images of the stack.
func difference(a, b place) string {
	switch {
	case a.size[0] != b.size[0] || a.size[1] != b.size[1]:
		return fmt.Sprintf("%.0f rows and %.0f columns (Rows %s, Columns %s), the stack %.0f and %.0f", a.size[0], a.size[1], dcm.Rows, dcm.Columns, b.size[0], b.size[1])
	case !a.sameSize(b):
		return fmt.Sprintf("a Pixel Spacing %s of %.4g x %.4g mm, the stack %.4g x %.4g mm", dcm.PixelSpacing, a.size[2], a.size[3], b.size[2], b.size[3])
	}
	degrees := math.Acos(min(max(a.normal().Dot(b.normal()), -1), 1)) * 180 / math.Pi
	return fmt.Sprintf("an Image Orientation (Patient) %s turned by %.1f degrees from that of the stack", dcm.ImageOrientationPatient, degrees)
}

// isPage reports whether a CT image cannot be a slice of a series with this matrix: it is in colour, or has no position and
// another matrix. Some scanners store dose and protocol pages in this way.
func isPage(h *dcm.DataSet, rows, columns int) bool {
	if n, ok := h.Int(dcm.SamplesPerPixel); ok && n > 1 {
		return true
	}
	_, placed := h.Floats(dcm.ImagePositionPatient)
	return !placed && rows > 0 && (dimension(h, dcm.Rows) != rows || dimension(h, dcm.Columns) != columns)
}

// matrixOf returns the matrix of the first image with a position; 0 if none has one.
func matrixOf(headers []*dcm.DataSet, images []int) (rows, columns int) {
	for _, i := range images {
		if _, ok := headers[i].Floats(dcm.ImagePositionPatient); ok {
			return dimension(headers[i], dcm.Rows), dimension(headers[i], dcm.Columns)
		}
	}
	return 0, 0
}

// place is the geometry of an image.
type place struct {
	along, down, origin volume.Vec
	size                [4]float64 // rows, columns, spacing
}

func (p place) normal() volume.Vec { return p.along.Cross(p.down) }

// placeOf reads the geometry of one image; volume.Arrange validates it.
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

// byPlane groups images by orientation, matrix and pixel size. It does not split them if a position is missing, or if the
// orientation is wrong: the positions of a stack must run along its normal, not within its plane.
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

// separate separates images at the same positions: first by reconstruction, then by time.
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
			if groups := byTag(headers, images, t); sideBySide(groups, at) { // two scans of the head with interleaved slices
				out := each(headers, groups)
				for i := range out {
					out[i].apart = fmt.Sprintf("The series contains %d scans of the same body region with interleaved slices; one was analysed.", len(groups))
				}
				return out
			}
		}
		return []stack{{images: images}}
	}
	if n >= dynamicParts {
		return []stack{{images: images, repeats: n}}
	}
	var scans [][]int
	for _, t := range []dcm.Tag{dcm.TemporalPositionIdentifier, dcm.AcquisitionNumber} {
		if groups := byTag(headers, images, t); scans == nil && tells(groups, n, at) {
			scans = groups
		}
	}
	if groups := inTime(headers, images, at); scans == nil && len(groups) == n {
		scans = groups
	}
	if scans != nil {
		out := each(headers, scans)
		for i := range out {
			out[i].apart = fmt.Sprintf("The series contains %d scans of the same positions; one was analysed.", len(scans))
		}
		return out
	}
	return []stack{{images: images}}
}

const seam = "slices at a position where one block of the scan ends and the next starts"

// withoutSeam drops one of two slices where a block of the scan (an acquisition) ends at the position where the next one starts.
// Blocks are parts of one scan: each by itself would be half a head. It returns nil if the acquisitions are not such blocks.
func withoutSeam(headers []*dcm.DataSet, images []int, at map[int]float64) (whole []int) {
	blocks := byTag(headers, images, dcm.AcquisitionNumber)
	if len(blocks) < 2 || len(blocks) > maxParts {
		return nil
	}
	for b, group := range blocks {
		lo, hi := span(group, at)
		for _, other := range blocks[:b] {
			if from, to := span(other, at); math.Min(hi, to)-math.Max(lo, from) >= samePlaceMM || repeats(group, at) > 1 {
				return nil // they overlap
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

// positions returns the positions of images along their normal, by index of header; nil if an image has none.
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

// repeats returns the largest number of images at one position.
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

// tells reports whether groups are separate scans of the same positions: each has fewer images at one position than n, the number
// of all together. Scanners that number every rotation as an acquisition give many groups that are not separate scans.
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

// sideBySide reports whether two groups cover the same body region without a common position, such as thin slices between thick
// ones. A group that starts where another ends (thin slices through the skull base) belongs to the same scan.
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

// when returns the DICOM time at which an image was acquired.
func when(h *dcm.DataSet) string {
	return cmp.Or(h.String(dcm.AcquisitionDateTime), h.String(dcm.AcquisitionDate)+h.String(dcm.AcquisitionTime), h.String(dcm.ContentTime))
}

// inTime splits images by time of acquisition: returning to an earlier position starts the next scan.
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
