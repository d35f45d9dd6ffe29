package selection

import (
	"math"
	"slices"
	"strings"

	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// kind is what an image is according to Image Type (0008,0008).
type kind int

const (
	noSlice       kind = iota // a localizer, a reformat, a rendering, a page
	derivedSlice              // computed from slices in the plane of acquisition, such as thick slices averaged from thin ones
	originalSlice             // as the scanner reconstructed it
)

// Values of Image Type that mark images other than slices; manufacturers add their own to those in the standard.
var (
	localizerTypes = []string{"LOCALIZER", "SCOUT", "TOPOGRAM"}
	pageTypes      = []string{"SCREEN SAVE", "DOSE_INFO", "DOSE INFO", "DOSE REPORT", "PROTOCOL", "REPORT"}
	planarTypes    = []string{"MPR", "CSA MPR", "CSAMPR", "REFORMATTED"} // their positions say in which plane
	reformatTypes  = []string{"CURVED", "CPR", "MIP", "MINIP", "MAX_IP", "MIN_IP", "PROJECTION IMAGE", "VRT",
		"SSD", "3D", "VOLREND", "VOLUME_RENDER", "SURFACE_RENDER", "CORONAL", "SAGITTAL", "OBLIQUE"}
)

// kindOf reads Image Type (PS3.3 §C.7.6.1.1.2, §C.8.2.1.1.1). why says what the image is if it is not a slice. An image without
// Image Type counts as original. Lossy compression changes ORIGINAL to DERIVED and leaves the other values.
func kindOf(h *dcm.DataSet) (k kind, why string) {
	t := h.Strings(dcm.ImageType)
	value := func(i int) string {
		if i < len(t) {
			return t[i]
		}
		return ""
	}
	said := func(known []string) bool {
		return slices.ContainsFunc(t, func(v string) bool { return slices.Contains(known, strings.ToUpper(v)) })
	}
	flat := value(2) == "AXIAL" || value(2) == "VOLUME" // the latter in multi-frame objects: PS3.3 §C.8.16.1.3
	switch {
	case said(localizerTypes):
		return noSlice, "localizer images"
	case said(pageTypes):
		return noSlice, "screen shots or dose pages"
	case value(2) == "REFORMATTED" && value(3) == "AVERAGE": // thick slices from thin ones, made by GE consoles; their positions say in which plane
		return derivedSlice, ""
	case said(reformatTypes), said(planarTypes) && !axial(h):
		return noSlice, "reformatted images"
	case said(planarTypes):
		return derivedSlice, ""
	case value(0) == "DERIVED" && lossy(h) && value(1) != "SECONDARY" && (flat || value(2) == ""):
		return originalSlice, ""
	case value(0) == "DERIVED" || value(1) == "SECONDARY":
		if axial(h) { // computed in the original plane, or only marked as derived by a tool
			return derivedSlice, ""
		}
		return noSlice, "derived images"
	}
	return originalSlice, ""
}

// axial reports whether the orientation of an image is roughly axial.
func axial(h *dcm.DataSet) bool {
	p, ok := placeOf(h)
	return ok && math.Abs(p.normal()[2]) > 0.8
}

func lossy(h *dcm.DataSet) bool { return h.String(dcm.LossyImageCompression) == "01" }

// isCT reports whether images of a SOP class are analysed; volume.Frames has split multi-frame ones into single images.
func isCT(class string) bool {
	return class == dcm.CTImageStorage || class == dcm.EnhancedCTImageStorage || class == dcm.LegacyConvertedEnhancedCTImageStorage
}

// mapWords name images that do not show CT density: perfusion and dual energy. Virtual non-contrast images are in Hounsfield
// units, but blood with contrast agent is subtracted from them together with the agent.
var mapWords = map[string]string{
	"CBF": "a perfusion map", "CBV": "a perfusion map", "RCBF": "a perfusion map", "RCBV": "a perfusion map", "MTT": "a perfusion map",
	"TTP": "a perfusion map", "TTD": "a perfusion map", "TMAX": "a perfusion map", "TMIP": "a rendering", "MIP": "a rendering", "MINIP": "a rendering",
	"VRT": "a rendering", "IODINE": "an iodine map", "IODE": "an iodine map", "JOD": "an iodine map", "ZEFF": "a map of atomic numbers",
	"VNC": "a virtual non-contrast image", "VNCA": "a virtual non-calcium image", "FUSION": "an overlay", "FUSED": "an overlay",
}

// mapOf returns which map or rendering an image is, according to its attributes and description; "" for neither.
func mapOf(h *dcm.DataSet) string {
	if why := volume.NotHounsfield(h); why != "" {
		return why
	}
	said := words(h, dcm.ImageType, dcm.SeriesDescription)
	for i, w := range said {
		if what, ok := mapWords[w]; ok {
			return "this is " + what
		}
		if w == "VIRTUAL" && slices.ContainsFunc(said[i:], func(w string) bool { return w == "NON" || w == "NONCONTRAST" || w == "UNENHANCED" }) {
			return "this is " + mapWords["VNC"]
		}
	}
	return ""
}

// kiloElectronVolt returns the energy of a virtual monoenergetic image; 0 if the description names none.
func kiloElectronVolt(h *dcm.DataSet) (keV int) {
	for _, t := range []dcm.Tag{dcm.ImageType, dcm.SeriesDescription} {
		for _, v := range h.Strings(t) {
			before, _, ok := strings.Cut(strings.ToUpper(v), "KEV")
			if !ok {
				continue
			}
			before = strings.TrimRight(before, " _-")
			digits := strings.TrimLeft(before[strings.LastIndexFunc(before, func(r rune) bool { return r < '0' || r > '9' })+1:], "0")
			if n, ok := number(digits, ""); ok {
				return n
			}
		}
	}
	return 0
}
