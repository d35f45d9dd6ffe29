package pipeline

import (
	"fmt"
	"strconv"
	"strings"

	"ichor/models/bundle"
	"ichor/pipeline/selection"
)

// parameters returns the settings that a finding depends on in addition to the study: those of the bundle, the precision, and
// the limits of the selection. They are written to every object, so that a result can be reproduced.
func parameters(b *bundle.Bundle, o selection.Options) map[string]string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	o = o.WithDefaults()
	bleeds := b.Network(bundle.Bleed)
	out := map[string]string{
		"precision":                 string(bleeds.Precision()),
		"cavity_tissue_threshold":   number(b.Network(bundle.CavityTissue).Threshold),
		"cavity_bone_threshold":     number(b.Network(bundle.CavityBone).Threshold),
		"bleed_threshold":           number(bleeds.Threshold),
		"bleed_window_hu":           fmt.Sprintf("%s..%s", number(bleeds.Input.WindowHU[0]), number(bleeds.Input.WindowHU[1])),
		"bleed_min_component_ml":    number(bleeds.Post.MinComponentML),
		"bleed_always_ml":           number(bleeds.Post.KeptML()),
		"bleed_sure_threshold":      number(max(bleeds.Post.SureThreshold, bleeds.Threshold)),
		"bleed_opening_mm":          number(bleeds.Post.OpeningMM),
		"bleed_rim_mm":              number(bleeds.Post.RimMM),
		"subtype_per":               bleeds.Post.SubtypePer,
		"selection_min_age":         strconv.Itoa(o.MinAge),
		"selection_contrast":        strconv.FormatBool(o.Contrast),
		"selection_bone_kernel":     strconv.FormatBool(o.BoneKernel),
		"selection_min_slices":      strconv.Itoa(o.MinSlices),
		"selection_min_coverage_mm": number(o.MinCoverageMM),
		"selection_max_coverage_mm": number(o.MaxCoverageMM),
		"selection_max_angle_deg":   number(o.MaxAngleDeg),
	}
	if u := bleeds.NNUNet; u != nil {
		out["nnunet_configuration"] = u.Configuration
		out["nnunet_spacing_mm"] = fmt.Sprintf("%s %s %s", number(u.SpacingMM[0]), number(u.SpacingMM[1]), number(u.SpacingMM[2]))
		out["nnunet_patch"] = strings.Trim(fmt.Sprint(bleeds.Patch()), "[]")
		out["nnunet_mirror_axes"] = strings.Trim(fmt.Sprint(u.MirrorAxes), "[]")
		out["nnunet_folds"] = strconv.Itoa(len(bleeds.Folds()))
	}
	if e := bleeds.Post.Edge; e > 0 {
		out["bleed_edge"] = number(e)
	}
	if p := bleeds.OperatingPoint(); p != "" {
		out["operating_point"] = string(p)
	}
	return out
}
