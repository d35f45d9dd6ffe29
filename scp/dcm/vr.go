package dcm

import (
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/grailbio/go-dicom/dicomtag"
)

// long reports whether the explicit form has a 32-bit length (PS3.5 §7.1.2, Table 7.1-1), as all future VRs have.
func (v VR) long() bool {
	switch v {
	case "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FL", "FD", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM",
		"UI", "UL", "US":
		return false
	}
	return true
}

// vrs are the value representations of the standard (PS3.5 §6.2).
var vrs = func() map[string]VR {
	m := map[string]VR{}
	for _, v := range strings.Fields("AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV") {
		m[v] = VR(v)
	}
	return m
}()

func (v VR) known() bool { return v == "SQ" || v == "AT" || v.text() || v.number() > 0 || v.bulk() > 0 }

// text reports whether values are character strings (PS3.5 §6.2).
func (v VR) text() bool {
	switch v {
	case "AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT":
		return true
	}
	return false
}

// charset reports whether Specific Character Set applies (PS3.5 §6.1.2.3).
func (v VR) charset() bool {
	switch v {
	case "LO", "LT", "PN", "SH", "ST", "UC", "UT":
		return true
	}
	return false
}

// single reports whether the VR has a single value, in which a backslash is text.
func (v VR) single() bool {
	switch v {
	case "LT", "ST", "UR", "UT":
		return true
	}
	return false
}

// number returns the size in bytes of one binary number, 0 for other VRs.
func (v VR) number() int {
	switch v {
	case "FL":
		return 4
	case "FD":
		return 8
	}
	return integers[v].size
}

// bulk returns the word size in bytes of a VR stored as bytes, 0 for other VRs.
func (v VR) bulk() int {
	switch v {
	case "OB", "UN":
		return 1
	case "OW":
		return 2
	case "OL", "OF":
		return 4
	case "OD", "OV":
		return 8
	}
	return 0
}

// pad returns the byte that pads a value to even length (PS3.5 §6.2).
func (v VR) pad() byte {
	if v.text() && v != "UI" {
		return ' '
	}
	return 0
}

// VR returns the value representation of t in the standard, "UN" if t is private or unknown. "US or SS" is US,
// "OB or OW" is OW; private creators are LO (PS3.5 §7.8.1), group lengths UL.
func (t Tag) VR() VR {
	group, element := t.Group(), t.Element()
	if group%2 == 1 {
		if element >= 0x10 && element <= 0xFF {
			return "LO"
		}
		return "UN"
	}
	if element == 0 {
		return "UL"
	}
	if vr, ok := newer()[t]; ok {
		return vr
	}
	if info, err := dicomtag.Find(dicomtag.Tag{Group: group, Element: element}); err == nil {
		return VR(info.VR)
	}
	if group&0xFF00 == 0x5000 || group&0xFF00 == 0x6000 { // repeating groups of curves and overlays (PS3.5 §7.6)
		if info, err := dicomtag.Find(dicomtag.Tag{Group: group & 0xFF00, Element: element}); err == nil {
			return VR(info.VR)
		}
		if vr, ok := overlay[element]; ok && group&0xFF00 == 0x6000 {
			return vr
		}
	}
	return "UN"
}

var overlay = map[uint16]VR{0x0010: "US", 0x0011: "US", 0x0015: "IS", 0x0022: "LO", 0x0040: "CS", 0x0045: "LO",
	0x0050: "SS", 0x0051: "US", 0x0100: "US", 0x0102: "US", 0x1001: "CS", 0x1301: "IS", 0x1302: "DS", 0x1303: "DS",
	0x1500: "LO", 0x3000: "OW"}

var newer = sync.OnceValue(func() map[Tag]VR {
	m := make(map[Tag]VR, 1600)
	for vr, list := range newerAttributes {
		for _, hex := range strings.Fields(list) {
			n, err := strconv.ParseUint(hex, 16, 32)
			if err != nil {
				panic("attribute table: " + err.Error()) // a constant of this package
			}
			m[Tag(n)] = vr
		}
	}
	return m
})

func parseDecimal(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if strings.Count(s, ",") == 1 && !strings.Contains(s, ".") {
		s = strings.Replace(s, ",", ".", 1)
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}
