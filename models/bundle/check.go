package bundle

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// check checks the manifest without its files. It returns the first error, which names the field.
func (m *Manifest) check() error {
	if m.Schema != 1 {
		return refuse("schema", "is %d; this version of ichor reads 1", m.Schema)
	}
	for _, f := range []struct{ field, value string }{
		{"name", m.Name}, {"version", m.Version}, {"licence", m.Licence}, {"intended_use", m.IntendedUse},
		{"description", m.Description}, {"training.data", m.Training.Data}, {"training.commit", m.Training.Commit},
	} {
		if strings.TrimSpace(f.value) == "" {
			return refuse(f.field, "is empty")
		}
	}
	if err := m.checkRoles(); err != nil {
		return err
	}
	for i := range m.Networks {
		if err := m.Networks[i].check(); err != nil {
			return fmt.Errorf("networks[%d].%w", i, err)
		}
	}
	return m.checkCavityPost()
}

// checkCavityPost checks that both cavity networks have the same post-processing: it is applied to the union of their masks.
func (m *Manifest) checkCavityPost() error {
	var first *Post
	for i := range m.Networks {
		n := &m.Networks[i]
		if n.Role == Bleed || n.Role == Subtype {
			continue
		}
		if first == nil {
			first = &n.Post
			continue
		}
		a, b := first.HURange, n.Post.HURange
		same := a == b || a != nil && b != nil && *a == *b
		if !same || first.LargestComponent != n.Post.LargestComponent || first.FillHoles != n.Post.FillHoles {
			return refuse(fmt.Sprintf("networks[%d].post", i), "differs from the post of the other cavity network")
		}
	}
	return nil
}

func (n *Network) check() error {
	for _, f := range []struct{ field, path string }{
		{"file", n.File}, {"reference.input", n.Reference.Input}, {"reference.output", n.Reference.Output},
	} {
		if err := checkPath(f.field, f.path); err != nil {
			return err
		}
	}
	for _, f := range []struct{ field, value string }{
		{"sha256", n.SHA256}, {"reference.input_sha256", n.Reference.InputSHA256}, {"reference.output_sha256", n.Reference.OutputSHA256},
	} {
		if err := checkDigest(f.field, f.value); err != nil {
			return err
		}
	}
	if n.Opset < 7 || n.Opset > 30 {
		return refuse("opset", "is %d", n.Opset)
	}
	if n.BaseWidth < 1 || n.BaseWidth > 1024 {
		return refuse("base_width", "is %d", n.BaseWidth)
	}
	if n.Parameters < 1 {
		return refuse("parameters", "is %d", n.Parameters)
	}
	if n.NNUNet != nil {
		if err := n.checkNNUNet(); err != nil {
			return err
		}
	} else {
		if err := n.Input.check(); err != nil {
			return err
		}
		if err := n.Output.check(n.Role, n.Input.Size()); err != nil {
			return err
		}
	}
	if !(n.Threshold > 0 && n.Threshold < 1) {
		return refuse("threshold", "is %g; it must be between 0 and 1", n.Threshold)
	}
	if err := n.Post.check(n); err != nil {
		return err
	}
	if err := n.Reference.check(n); err != nil {
		return err
	}
	return n.Int8.check()
}

func checkPath(field, path string) error {
	if !filepath.IsLocal(filepath.FromSlash(path)) || strings.ContainsAny(path, "\\\x00") {
		return refuse(field, "%q is not a path inside the bundle", path)
	}
	return nil
}

func checkDigest(field, digest string) error {
	if !hexDigest.MatchString(digest) {
		return refuse(field, "%q must be 64 lower-case hex digits", digest)
	}
	return nil
}

func checkTolerance(field string, tolerance float64) error {
	if !(tolerance > 0 && tolerance <= 0.1) {
		return refuse(field, "is %g; it must be above 0 and at most 0.1", tolerance)
	}
	return nil
}

func (in *Input) check() error {
	if in.Name == "" {
		return refuse("input.name", "is empty")
	}
	if in.Layout != "NCHW" {
		return refuse("input.layout", "is %q; it must be NCHW", in.Layout)
	}
	if err := checkShape("input.shape", in.Shape); err != nil {
		return err
	}
	if in.Neighbours < 0 || in.Neighbours > 8 {
		return refuse("input.neighbours", "is %d; it must be between 0 and 8", in.Neighbours)
	}
	if want := int64(1 + 2*in.Neighbours); in.Shape[1] != want {
		return refuse("input.shape", "has %d channels; %d neighbours on either side require %d", in.Shape[1], in.Neighbours, want)
	}
	if err := in.checkWindow(); err != nil {
		return err
	}
	if !(in.PixelMM == 0 || in.PixelMM >= 0.1 && in.PixelMM <= 10) {
		return refuse("input.pixel_mm", "is %g; it must be 0 (plain resize) or between 0.1 and 10", in.PixelMM)
	}
	if !(in.SlabMM >= 0 && in.SlabMM <= 50) {
		return refuse("input.slab_mm", "is %g; it must be between 0 and 50", in.SlabMM)
	}
	return nil
}

func (in *Input) checkWindow() error {
	lo, hi := in.WindowHU[0], in.WindowHU[1]
	if !(lo < hi) || lo < -2000 || hi > 32767 {
		return refuse("input.window_hu", "is [%g, %g]; write the lower value first, in HU", lo, hi)
	}
	return nil
}

// checkShape requires [-1, C, N, N] with N a multiple of 16, because the network halves it four times.
func checkShape(field string, s []int64) error {
	if len(s) != 4 || s[0] != -1 || s[2] != s[3] {
		return refuse(field, "is %v; it must be [-1, C, N, N]", s)
	}
	if s[1] < 1 || s[1] > maxChannels {
		return refuse(field, "has %d channels", s[1])
	}
	if n := s[2]; n < 16 || n > maxSize || n%16 != 0 {
		return refuse(field, "has images of %d x %d; the size must be a multiple of 16 up to %d", n, n, maxSize)
	}
	return nil
}

func (o *Output) check(r Role, size int) error {
	if o.Name == "" {
		return refuse("output.name", "is empty")
	}
	if err := checkShape("output.shape", o.Shape); err != nil {
		return err
	}
	want := []string{"cavity"}
	if r == Bleed || r == Subtype {
		want = []string{"any", "IPH", "IVH", "SAH", "SDH", "EDH"}
		if r == Bleed && len(o.Channels) == 1 { // only hemorrhage, without subtypes, like the paper's networks
			want = want[:1]
		}
	}
	if !slices.Equal(o.Channels, want) {
		return refuse("output.channels", "is %q; it must be %q", o.Channels, want)
	}
	if int(o.Shape[1]) != len(want) || int(o.Shape[3]) != size {
		return refuse("output.shape", "is %v; it must be [-1, %d, %d, %d]", o.Shape, len(want), size, size)
	}
	return nil
}

func (p *Post) check(n *Network) error {
	r := n.Role
	if r != Bleed {
		if p.MinComponentML != 0 || p.SureThreshold != 0 || p.Edge != 0 || p.OpeningMM != 0 || p.RimMM != 0 || p.SubtypePer != "" || p.Evidence != nil {
			return refuse("post", "has settings of the bleed network under role %s", r)
		}
		if h := p.HURange; h != nil && !(h[0] < h[1]) {
			return refuse("post.hu_range", "is [%g, %g]; write the lower value first", h[0], h[1])
		}
		return nil
	}
	if p.LargestComponent || p.FillHoles || p.HURange != nil {
		return refuse("post", "has settings of a cavity network under role %s", r)
	}
	for _, f := range []struct {
		field      string
		value, max float64
	}{{"post.opening_mm", p.OpeningMM, 50}, {"post.rim_mm", p.RimMM, 200}} {
		if !(f.value >= 0 && f.value <= f.max) {
			return refuse(f.field, "is %g; it must be between 0 and %g", f.value, f.max)
		}
	}
	if !(p.MinComponentML >= 0 && p.MinComponentML <= AlwaysML) {
		return refuse("post.min_component_ml", "is %g; it must be between 0 and %d: no rule may drop a clot of %d mL or more", p.MinComponentML, AlwaysML, AlwaysML)
	}
	if s := p.SureThreshold; s != 0 && !(s >= n.Threshold && s < 1) {
		return refuse("post.sure_threshold", "is %g; it must be between the threshold, %g, and 1", s, n.Threshold)
	}
	if !(p.Edge >= 0 && p.Edge < 1) {
		return refuse("post.edge", "is %g; it must be 0 or between 0 and 1", p.Edge)
	}
	if err := p.Evidence.check(n); err != nil {
		return err
	}
	if !n.TellsSubtypes() {
		if p.SubtypePer != "" {
			return refuse("post.subtype_per", "is %q; leave it out for a network without subtypes", p.SubtypePer)
		}
		return nil
	}
	switch p.SubtypePer {
	case "voxel", "component", "extra-axial", "anatomy":
		return nil
	}
	return refuse("post.subtype_per", "is %q; it must be voxel, component, extra-axial or anatomy", p.SubtypePer)
}

func (r *Reference) check(n *Network) error {
	for _, f := range []struct {
		field      string
		got, model []int64
	}{{"reference.input_shape", r.InputShape, n.Input.Shape}, {"reference.output_shape", r.OutputShape, n.Output.Shape}} {
		if len(f.got) != len(f.model) || f.got[0] < 1 || f.got[0] > 16 || !slices.Equal(f.got[1:], f.model[1:]) {
			return refuse(f.field, "is %v; it must be %v with a batch of 1 to 16 in place of -1", f.got, f.model)
		}
	}
	if r.InputShape[0] != r.OutputShape[0] {
		return refuse("reference.output_shape", "has a batch of %d, but the input has %d", r.OutputShape[0], r.InputShape[0])
	}
	return checkTolerance("reference.tolerance", r.Tolerance)
}

// checkPresent checks the raw JSON: keys whose zero has a meaning must be present, and pairs must have two values.
func checkPresent(raw map[string]any) error {
	nets, _ := raw["networks"].([]any)
	for i, v := range nets {
		net, _ := v.(map[string]any)
		in, _ := net["input"].(map[string]any)
		for _, key := range []string{"pixel_mm", "neighbours", "slab_mm"} {
			if _, ok := in[key]; !ok {
				return refuse(fmt.Sprintf("networks[%d].input.%s", i, key), "is missing; write 0 for none")
			}
		}
		if pair, _ := in["window_hu"].([]any); len(pair) != 2 {
			return refuse(fmt.Sprintf("networks[%d].input.window_hu", i), "must be a pair of numbers")
		}
		post, ok := net["post"].(map[string]any)
		if !ok {
			return refuse(fmt.Sprintf("networks[%d].post", i), "is missing")
		}
		if r, ok := post["hu_range"]; ok {
			if pair, _ := r.([]any); len(pair) != 2 {
				return refuse(fmt.Sprintf("networks[%d].post.hu_range", i), "must be a pair of numbers")
			}
		}
	}
	return nil
}
