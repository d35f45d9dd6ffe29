package selection

import (
	"slices"
	"strings"
	"unicode"

	"ichor/scp/dcm"
)

// headWords mean that a description is about the head, otherWords that it is about something else; the others say what kind of
// images it describes. Upper case, whole words. Protocol names are free text in the language of the site.
var (
	headWords = []string{"HEAD", "BRAIN", "SKULL", "CRANIUM", "CRANIAL", "CRANE", "CRÂNE", "CRANIO", "CRANEO", "CRÁNEO", "CEREBRUM", "CEREBRAL",
		"CEREBRALE", "CEREBRO", "ENCEPHALE", "ENCEFALO", "NEURO", "NEUROCRANIUM", "KOPF", "SCHAEDEL", "SCHÄDEL", "SCHADEL", "CCT", "CRAN",
		"TETE", "TÊTE", "CABEZA", "TESTA", "HOOFD", "HERSENEN", "HJERNE", "HUVUD", "HODE", "HOVED", "HERSENSCHEDEL", "CRANIO", "CRÂNIO", "CABECA", "CABEÇA", "ENCÉPHALE", "CERVEAU", "CERVELLO", "LEBKA", "HLAVA", "MOZEK", "GLAVA", "KRANIUM", "ГОЛОВА", "ГОЛОВЫ", "МОЗГ", "МОЗГА", "GLOWA", "GŁOWA", "STROKE", "HEADNECK", "HEADBRAIN"}
	otherWords = []string{"CHEST", "THORAX", "LUNG", "LUNGS", "ABDOMEN", "ABDOMINAL", "ABD", "PELVIS", "PELVIC", "LIVER", "KIDNEY", "CSPINE",
		"TSPINE", "LSPINE", "SSPINE", "SPINE", "CERVICAL", "LUMBAR", "WIRBELSAEULE", "HWS", "BWS", "LWS", "NECK", "HALS", "HEART", "CARDIAC",
		"AORTA", "EXTREMITY", "LEG", "ARM", "KNEE", "HIP", "SHOULDER", "ANKLE", "FOOT", "HAND", "WRIST", "ELBOW", "SINUS", "SINUSES",
		"PNS", "NNH", "ORBIT", "ORBITS", "FACE", "FACIAL", "MAXILLA", "MANDIBLE", "JAW", "DENTAL", "PETROUS", "IAC", "IAM"}
	reformatWords = []string{"MPR", "REFORMAT", "REFORMATS", "REFORMATTED"}
	boneWords     = []string{"BONE", "BONES", "KNOCHEN", "OS", "OSSEUX", "HUESO", "OSEO", "OSSO", "KNOGLE"}

	angioWords = []string{"ANGIO", "ANGIOGRAPHY", "ANGIOGRAM", "ANGIOGRAPHIE", "CTA", "VENO", "VENOGRAM", "VENOGRAPHY", "CTV", "ARTERIAL", "VENOUS",
		"CAROTID", "CAROTIDS", "COW", "WILLIS", "ARTERY", "ARTERIES", "ARTERIEN", "VESSEL", "VESSELS", "GEFAESSE", "GEFÄSSE"}
	perfusionWords = []string{"PERFUSION", "PERF", "CTP", "VPCT", "DYNAMIC"}
	contrastWords  = []string{"CONTRAST", "CONTRASTE", "CONTRASTO", "KONTRAST", "KONTRASTMITTEL", "POSTCONTRAST", "ENHANCED", "CE", "CECT", "KM", "MDC", "造影", "增强", "OMNIPAQUE", "ISOVUE"}
	// plainWords next to them negate them: without contrast, ohne KM, NCCT.
	plainWords = []string{"WITHOUT", "WO", "NON", "NONCON", "NONCONTRAST", "NC", "NCCT", "NECT", "UNENHANCED", "NONENHANCED", "NATIVE", "NATIV", "NATIF", "NATIVO", "PLAIN",
		"PRE", "PRECONTRAST", "NO", "NOT", "OHNE", "SANS", "SIN", "SENZA", "ZONDER", "SEM", "UTAN", "UDEN", "UTEN", "ILMAN", "BEZ", "BLANCO", "BASALE", "DIRETTA", "SPC",
		"NEPOST", "NATYWNE", "БЕЗ", "НАТИВ", "НАТИВНО", "平扫", "单纯", "単純"}
	// agentNames next to them make it doubtful again.
	agentNames = []string{"OMNIPAQUE", "IOHEXOL", "ISOVUE", "IOPAMIDOL", "IOPAMIRON", "VISIPAQUE", "IODIXANOL", "ULTRAVIST", "IOPROMIDE", "IOMERON", "IOMEPROL", "OPTIRAY",
		"IOVERSOL", "XENETIX", "IOBITRIDOL", "IMERON", "SOLUTRAST", "OXILAN", "HEXABRIX", "ACCUPAQUE",
		"ISOVIST", "IOTROLAN", "IOBITRIDOL", "IOXAGLATE", "IOXILAN", "IOXITALAMATE", "IOPENTOL", "IMAGOPAQUE", "SCANLUX", "SCANDICAT", "UNILUX", "IOPASEN", "OYPALOMIN", "IOMERON300", "TELEBRIX", "CONRAY", "RENOGRAFIN", "UROGRAFIN",
		"GASTROGRAFIN", "PERITRAST", "CLARISCAN", "JOD", "IODE", "IODINE", "IODINATED", "YODO", "IODIO", "ОМНИПАК", "УЛЬТРАВИСТ", "ЙОГЕКСОЛ", "ВИЗИПАК", "ОПТИРЕЙ", "КСЕНЕТИКС",
		"オムニパーク", "イオパミロン", "イオヘキソール", "イオメロン", "碘海醇", "碘佛醇", "碘克沙醇", "碘普罗胺", "欧乃派克", "优维显"}
	softWords = []string{"SOFT", "BRAIN", "STANDARD", "HIRN", "WEICHTEIL", "WEICHTEILE", "PARENCHYMA", "CEREBRUM", "CERVEAU", "ENCEPHALE", "CEREBRO", "CERVELLO"}
)

// words returns the upper-case words of the given elements. C-SPINE also counts as CSPINE, C+ as POSTCONTRAST.
func words(d *dcm.DataSet, tags ...dcm.Tag) []string {
	var out []string
	for _, t := range tags {
		for _, v := range d.Strings(t) {
			v = shorthand.Replace(strings.ToUpper(v))
			both := []string{v}
			if strings.Contains(v, "-") {
				both = append(both, strings.ReplaceAll(v, "-", ""))
			}
			for _, s := range both {
				out = append(out, strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) })...)
			}
			for _, s := range strings.FieldsFunc(v, func(r rune) bool { return unicode.IsSpace(r) || r == '_' || r == ',' || r == '/' }) {
				switch s {
				case "C+", "+C", "CM+", "KM+", "IV+", "+KM", "+CM":
					out = append(out, "POSTCONTRAST")
				case "C-", "-C", "CM-", "KM-", "IV-", "-KM", "-CM":
					out = append(out, "NONCONTRAST")
				}
			}
		}
	}
	return out
}

// which returns the first of known that occurs in said.
func which(said, known []string) string {
	i := slices.IndexFunc(said, func(w string) bool { return slices.Contains(known, w) })
	if i < 0 {
		return ""
	}
	return said[i]
}

// boneWord returns the word in a description that means a reconstruction for bone; "" if it is negated or a soft-tissue one is
// named too.
func boneWord(said []string) string {
	if which(said, softWords) != "" {
		return ""
	}
	for i, w := range said {
		if slices.Contains(boneWords, w) && (i == 0 || !slices.Contains(plainWords, said[i-1])) {
			return w
		}
	}
	return ""
}

// kernel is the purpose of a reconstruction kernel.
type kernel int

const (
	unknownKernel kernel = iota
	softKernel
	mediumKernel // sharper than brain is read with
	sharpKernel  // for bone, the inner ear or the lungs
)

// kernelOf reads Convolution Kernel (0018,1210). Each manufacturer has its own names; an unknown name gives no kernel.
func kernelOf(d *dcm.DataSet) kernel {
	for _, v := range d.Strings(dcm.ConvolutionKernel) {
		v = strings.ToUpper(strings.TrimSpace(v))
		switch v {
		case "STANDARD", "STND", "SOFT", "BRAIN", "UA", "UB", "UC", "A", "B", "C", "SA", "SB", "SC", "SMOOTH": // GE, Philips
			return softKernel
		case "DETAIL", "D":
			return mediumKernel
		case "BONE", "BONEPLUS", "BONE+", "EDGE", "LUNG", "ULTRA", "HD BONE", "E", "L", "YA", "YB", "YC", "YD", "YE":
			return sharpKernel
		}
		if n, ok := number(v, "FC"); ok { // Toshiba and Canon: 20 to 29 and 60 to 69 are brain, 30 and 80 upwards bone and lung
			if n/10 == 3 || n >= 50 && n < 60 || n >= 80 {
				return sharpKernel
			}
			return softKernel
		}
		for _, p := range []string{"HR", "HC", "HV", "HF", "QR", "BR", "BV", "H", "J", "B", "I", "T"} { // Siemens: the number is the sharpness
			if n, ok := number(v, p); ok {
				return [...]kernel{softKernel, mediumKernel, sharpKernel}[max(0, min(n/5-9, 2))] // up to 49, to 54, from 55
			}
		}
		// Others contain the purpose, as in "Brain Standard", "H_SHARP_C".
		said := func(words ...string) bool {
			return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(v, w) })
		}
		switch {
		case said("BONE", "SHARP", "LUNG", "EDGE", "KNOCHEN", "OSSEU", "HUESO", "INNER EAR", "INNENOHR"):
			return sharpKernel
		case said("BRAIN", "SOFT", "STANDARD", "SMOOTH", "CEREBR", "HIRN", "WEICH"):
			return softKernel
		}
	}
	return unknownKernel
}

// number returns the decimal number after prefix; letters may follow it.
func number(s, prefix string) (int, bool) {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok || rest == "" || rest[0] < '0' || rest[0] > '9' {
		return 0, false
	}
	n := 0
	for _, c := range []byte(rest) {
		if c < '0' || c > '9' || n > 999 {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}
