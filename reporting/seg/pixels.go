package seg

import "ichor/reporting/iod"

// bits packs the frames: one bit a pixel, least significant first, without padding between frames, so that a frame
// may begin in the middle of a byte (PS3.5 §8.1.1, §A.4). The writer pads the end to an even length.
func bits(c *iod.Report, frames []frame) []byte {
	n := c.Volume.Rows * c.Volume.Columns
	b := make([]byte, (len(frames)*n+7)/8)
	for i, f := range frames {
		if f.segment.on[f.slice] {
			pack(b, i*n, f.segment.mask.Slice(f.slice), f.segment.value)
		}
	}
	return b
}

// pack sets bit first+j of b for each j where voxels[j] is value, or anything but 0 where value is 0.
func pack(b []byte, first int, voxels []uint8, value uint8) {
	for j, v := range voxels {
		if v != 0 && (value == 0 || v == value) {
			bit := first + j
			b[bit/8] |= 1 << (bit % 8)
		}
	}
}

// numbers are the frames of a label map: a byte a pixel, the number of its segment or 0. All segments are of one mask.
func numbers(c *iod.Report, segments []segment, frames []frame) []byte {
	var number [256]uint8 // by voxel value
	for _, s := range segments {
		if s.value == 0 { // anything but 0
			for v := range number[1:] {
				number[v+1] = uint8(s.number)
			}
			continue
		}
		number[s.value] = uint8(s.number)
	}
	b := make([]byte, 0, len(frames)*c.Volume.Rows*c.Volume.Columns)
	for _, f := range frames {
		for _, label := range segments[0].mask.Slice(f.slice) {
			b = append(b, number[label])
		}
	}
	return b
}
