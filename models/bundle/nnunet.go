package bundle

import (
	"fmt"
	"slices"
)

// NNUNet is how a bleed network made by nnU-Net v2 sees a head: HU are clipped to Input.WindowHU and normalised, resampled to
// SpacingMM, and cut into overlapping patches of Input.Shape. The network answers logits, one channel a class. Axes are
// slices (feet to head), rows, columns.
type NNUNet struct {
	Configuration string     `json:"configuration"` // 2d or 3d_fullres
	SpacingMM     [3]float64 `json:"spacing_mm"`    // the first is 0 for 2d: slices are as they are
	Mean          float64    `json:"mean"`          // of the clipped HU
	Std           float64    `json:"std"`
	Orientation   string     `json:"orientation"`   // where columns, rows and slices rise to: LPS, LAS, RPS or RAS
	MirrorAxes    []int      `json:"mirror_axes"`   // 0 slices, 1 rows, 2 columns; every combination is run and averaged
	Further       []Fold     `json:"further_folds"` // beside that of Network.File; the logits of all are averaged
}

// Fold is one more training of the same network. Its reference input is that of the first.
type Fold struct {
	File      string             `json:"file"`
	SHA256    string             `json:"sha256"`
	Reference QuantisedReference `json:"reference"`
}

const (
	// Background and NotBlood are names of classes in Output.Channels of a network of nnU-Net.
	Background = "background"
	NotBlood   = "-"

	maxPatch   = 1 << 24 // voxels
	widePatch  = 1 << 22 // values of the first feature maps of a patch: 16 MiB of float32
	maxFolds   = 16
	maxClasses = 64
)

// Patch is the size of a patch: slices, rows, columns; one slice for 2d.
func (n *Network) Patch() [3]int {
	s := n.Input.Shape[2:]
	if len(s) == 2 {
		return [3]int{1, int(s[0]), int(s[1])}
	}
	return [3]int{int(s[0]), int(s[1]), int(s[2])}
}

// Wide reports whether one patch takes so much memory (a usual 3d_fullres: about 1 GiB) that patches are run one by one, each on
// all cores, in the place of one patch on each core.
func (n *Network) Wide() bool {
	if n.NNUNet == nil {
		return false
	}
	p := n.Patch()
	return p[0]*p[1]*p[2]*n.BaseWidth >= widePatch
}

// Folds returns the network once for each of its files. Only a network of nnU-Net has more than one.
func (n *Network) Folds() []*Network {
	folds := []*Network{n}
	if n.NNUNet == nil {
		return folds
	}
	for _, f := range n.NNUNet.Further {
		fold, part := *n, *n.NNUNet
		part.Further = nil
		fold.NNUNet = &part
		fold.File, fold.SHA256 = f.File, f.SHA256
		fold.Reference.Output, fold.Reference.OutputSHA256, fold.Reference.Tolerance = f.Reference.Output, f.Reference.OutputSHA256, f.Reference.Tolerance
		folds = append(folds, &fold)
	}
	return folds
}

// checkNNUNet takes the place of the checks of Input, Output and Reference, whose images are square.
func (n *Network) checkNNUNet() error {
	u, in := n.NNUNet, &n.Input
	if n.Role != Bleed {
		return refuse("nnunet", "is there under role %s; only %s has it", n.Role, Bleed)
	}
	if n.Int8 != nil {
		return refuse("int8", "is there beside nnunet, which has none")
	}
	dims, layout := 5, "NCDHW"
	switch u.Configuration {
	case "3d_fullres":
	case "2d":
		dims, layout = 4, "NCHW"
	default:
		return refuse("nnunet.configuration", "is %q, not 2d or 3d_fullres", u.Configuration)
	}
	if in.Name == "" || n.Output.Name == "" {
		return refuse("input.name", "or output.name is empty")
	}
	if in.Layout != layout {
		return refuse("input.layout", "is %q; %s is read for %s", in.Layout, layout, u.Configuration)
	}
	if err := checkPatch("input.shape", in.Shape, dims, 1); err != nil {
		return err
	}
	classes := len(n.Output.Channels)
	if classes < 2 || classes > maxClasses {
		return refuse("output.channels", "has %d classes", classes)
	}
	if err := checkPatch("output.shape", n.Output.Shape, dims, int64(classes)); err != nil {
		return err
	}
	if !slices.Equal(in.Shape[2:], n.Output.Shape[2:]) {
		return refuse("output.shape", "is %v, the input %v; patches have one size", n.Output.Shape, in.Shape)
	}
	if err := checkClasses(n.Output.Channels); err != nil {
		return err
	}
	if err := in.checkWindow(); err != nil {
		return err
	}
	if in.PixelMM != 0 || in.Neighbours != 0 || in.SlabMM != 0 {
		return refuse("input", "has pixel_mm, neighbours or slab_mm; nnunet.spacing_mm takes their place")
	}
	for axis, mm := range u.SpacingMM {
		if axis == 0 && dims == 4 {
			if mm != 0 {
				return refuse("nnunet.spacing_mm", "is %v; the first is 0 for 2d", u.SpacingMM)
			}
			continue
		}
		if !(mm >= 0.05 && mm <= 50) {
			return refuse("nnunet.spacing_mm", "is %v, not 0.05 to 50", u.SpacingMM)
		}
	}
	if mm := u.SpacingMM; dims == 5 && max(mm[1], mm[2]) > 3*min(mm[0], mm[1], mm[2]) && mm[1] != mm[2] && mm[0] < max(mm[1], mm[2]) {
		return refuse("nnunet.spacing_mm", "is %v; only slices may be more than 3 times as far apart as pixels", mm)
	}
	if !(u.Mean >= -32768 && u.Mean <= 32767) || !(u.Std > 0 && u.Std <= 32767) {
		return refuse("nnunet.std", "is %g with mean %g", u.Std, u.Mean)
	}
	if !slices.Contains([]string{"LPS", "LAS", "RPS", "RAS"}, u.Orientation) {
		return refuse("nnunet.orientation", "is %q, not LPS, LAS, RPS or RAS", u.Orientation)
	}
	for i, a := range u.MirrorAxes {
		if a < 5-dims || a > 2 || slices.Contains(u.MirrorAxes[:i], a) {
			return refuse("nnunet.mirror_axes", "are %v", u.MirrorAxes)
		}
	}
	if len(u.Further) >= maxFolds {
		return refuse("nnunet.further_folds", "has %d entries", len(u.Further))
	}
	for i, f := range u.Further {
		field := fmt.Sprintf("nnunet.further_folds[%d].", i)
		for _, p := range []struct{ field, path string }{{"file", f.File}, {"reference.output", f.Reference.Output}} {
			if err := checkPath(field+p.field, p.path); err != nil {
				return err
			}
		}
		for _, d := range []struct{ field, value string }{{"sha256", f.SHA256}, {"reference.output_sha256", f.Reference.OutputSHA256}} {
			if err := checkDigest(field+d.field, d.value); err != nil {
				return err
			}
		}
		if err := checkTolerance(field+"reference.tolerance", f.Reference.Tolerance); err != nil {
			return err
		}
	}
	return nil
}

// checkPatch wants [-1, channels, ...] of dims dimensions, of a size that fits into memory.
func checkPatch(field string, s []int64, dims int, channels int64) error {
	if len(s) != dims || s[0] != -1 || s[1] != channels {
		return refuse(field, "is %v, not [-1, %d, ...] of %d dimensions", s, channels, dims)
	}
	voxels := int64(1)
	for _, n := range s[2:] {
		if n < 1 || n > maxSize {
			return refuse(field, "has a side of %d, not 1 to %d", n, maxSize)
		}
		voxels *= n
	}
	if voxels > maxPatch {
		return refuse(field, "has patches of %d voxels, more than the limit of %d", voxels, maxPatch)
	}
	return nil
}

// checkClasses wants the background first, then subtypes or "any", and NotBlood for what is none.
func checkClasses(classes []string) error {
	if classes[0] != Background {
		return refuse("output.channels", "begins with %q, not %q", classes[0], Background)
	}
	blood, untold := 0, 0
	for _, c := range classes[1:] {
		switch c {
		case NotBlood:
			continue
		case "any":
			untold++
		case "IPH", "IVH", "SAH", "SDH", "EDH":
		default:
			return refuse("output.channels", "has %q; a class is a subtype, any, or %q", c, NotBlood)
		}
		blood++
	}
	if blood == 0 {
		return refuse("output.channels", "is %q; none of them is blood", classes)
	}
	if untold > 0 && untold < blood {
		return refuse("output.channels", "is %q; any goes with no subtype", classes)
	}
	return nil
}

// checkRoles wants each role once, and a network for subtypes only beside one of nnU-Net that tells none.
func (m *Manifest) checkRoles() error {
	subtypes := 0
	for i := range m.Networks {
		n := &m.Networks[i]
		if n.Role == Subtype {
			subtypes++
		} else if !slices.Contains(Roles[:], n.Role) {
			return refuse(fmt.Sprintf("networks[%d].role", i), "%q must be one of %v", n.Role, Roles)
		}
		if slices.ContainsFunc(m.Networks[:i], func(o Network) bool { return o.Role == n.Role }) {
			return refuse(fmt.Sprintf("networks[%d].role", i), "%q appears twice", n.Role)
		}
	}
	if len(m.Networks) != len(Roles)+subtypes {
		return refuse("networks", "has %d networks; there must be one for each of %v", len(m.Networks), Roles)
	}
	if subtypes == 0 {
		return nil
	}
	i := slices.IndexFunc(m.Networks, func(n Network) bool { return n.Role == Bleed })
	bleed := &m.Networks[i]
	if bleed.NNUNet == nil || !slices.Contains(bleed.Output.Channels, "any") {
		return refuse(fmt.Sprintf("networks[%d].role", i), "%q is there beside a bleed network that needs none", Subtype)
	}
	bleed.named = true
	return nil
}
