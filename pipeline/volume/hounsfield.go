package volume

import (
	"fmt"
	"slices"
	"strings"

	"ichor/scp/dcm"
)

// NotHounsfield says why the pixels of a CT image are not the density of what lies there in Hounsfield units, in words;
// "" where nothing says so. Rescale Type (PS3.3 §C.11.1.1.2), the kinds of map and of rendering in value 4 of Image Type
// and Frame Type (§C.8.15.2.1.4, §C.8.15.3.1.4) and in Volume Based Calculation Technique (§C.8.16.2.1.3) are read. Virtual
// monoenergetic images are in Hounsfield units.
func NotHounsfield(h *dcm.DataSet) string {
	if t := strings.ToUpper(h.String(dcm.RescaleType)); t != "" && t != "HU" && t != "US" && t != "HU_MOD" {
		return fmt.Sprintf("they are in %.16q", t)
	}
	maps := []string{"MAT_SPECIFIC", "MAT_REMOVED", "MAT_FRACTIONAL", "MAT_MODIFIED", "MAT_VALUE_BASED", "EFF_ATOMIC_NUM", "ELECTRON_DENSITY",
		"ENERGY_PROP_WT", "STD_DEVIATION", "SUBTRACTION", "DIVISION", "MULTIPLICATION", "QUANTITY"}
	for i, v := range h.Strings(dcm.ImageType) {
		if v = strings.ToUpper(v); i > 1 && slices.Contains(maps, v) {
			return "they are a map of kind " + v
		}
	}
	switch v := strings.ToUpper(h.String(dcm.VolumeBasedCalculationTechnique)); v {
	case "MAX_IP", "MIN_IP", "VOLUME_RENDER", "SURFACE_RENDER", "CURVED_MPR":
		return "they are a rendering of kind " + v
	}
	if h.String(dcm.VolumetricProperties) == "DISTORTED" {
		return "the image is distorted"
	}
	return ""
}
