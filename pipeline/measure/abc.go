package measure

// Of the area of the largest slice: what a slice must exceed to count whole, and to count half, for C.
const (
	wholeSlice = 0.75
	halfSlice  = 0.25
)

// abc2 estimates a volume in mL as readers do by hand (Kothari et al., Stroke 1996;27:1304): A*B*C/2, A the largest
// diameter on the slice of the largest area, B the longest line at right angles to it on the same slice, C the slices
// times their thickness. A slice of more than 75 % of the largest area counts whole for C, one of 25 to 75 % half, a
// smaller one not at all, as published. Each slice counts with its own support, so uneven stacks are measured as well.
//
// The estimate stands beside the volume for those who are used to it, and is not a better one: on an ellipsoid in thin
// slices those weights make C two thirds (0.683) of its height, and ABC/2 as much of its volume; hollow and curved lesions
// are overestimated instead.
func abc2(cuts []cut) float64 {
	var largest cut
	for _, c := range cuts {
		if c.areaMM2 > largest.areaMM2 {
			largest = c
		}
	}
	heightMM := 0.0
	for _, c := range cuts {
		switch {
		case c.areaMM2 > wholeSlice*largest.areaMM2:
			heightMM += c.supportMM
		case c.areaMM2 >= halfSlice*largest.areaMM2:
			heightMM += c.supportMM / 2
		}
	}
	return largest.diameterMM * largest.widthMM * heightMM / 2 / 1000
}
