package iod

import (
	"cmp"
	"image/color"

	"ichor/pipeline/finding"
)

// Look is how a kind of segment appears, the same in SEG, SC and SR.
type Look struct {
	Label  string     // Segment Label, at most 64 characters
	Type   Code       // Segmented Property Type, and Finding in the SR
	Region Code       // Anatomic Region, and Finding Site in the SR
	Color  color.RGBA // on the SC pages, and as Recommended Display CIELab Value
}

// Looks is the table of a site, by the abbreviation of the subtype or Cavity. Whatever it leaves out is that of
// DefaultLook.
type Looks map[string]Look

// Cavity names the segment of the intracranial cavity in Looks.
const Cavity = "cavity"

// DefaultLook is the table that goes with ichor. The subtypes share one type code, Hemorrhage, which is the only
// hemorrhage of CID 7151 and CID 7159; what tells them apart is the anatomy, the label and the tracking identifier.
// SNOMED CT has finer concepts, but public sources disagree on those for intraventricular and epidural hemorrhage, so they
// are a site's to choose.
//
// The colours are those of Okabe and Ito that differ for readers with any colour vision and stand out from grey.
func DefaultLook(name string) Look {
	switch name {
	case "IPH":
		return Look{finding.IPH.Name(), Hemorrhage, Brain, color.RGBA{230, 85, 13, 255}} // vermilion
	case "IVH":
		return Look{finding.IVH.Name(), Hemorrhage, BrainVentricle, color.RGBA{86, 180, 233, 255}} // sky blue
	case "SAH":
		return Look{finding.SAH.Name(), Hemorrhage, SubarachnoidSpace, color.RGBA{240, 228, 66, 255}} // yellow
	case "SDH":
		return Look{finding.SDH.Name(), Hemorrhage, DuraMater, color.RGBA{0, 178, 130, 255}} // bluish green
	case "EDH":
		return Look{finding.EDH.Name(), Hemorrhage, DuraMater, color.RGBA{214, 110, 178, 255}} // reddish purple
	case "ICH":
		return Look{finding.ICH.Name(), Hemorrhage, CranialCavity, color.RGBA{230, 159, 0, 255}} // orange
	}
	return Look{"Intracranial cavity", CranialCavity, Head, color.RGBA{190, 190, 190, 255}}
}

// of is the look of one kind: the site's, and where that is silent the default.
func (l Looks) of(name string) Look {
	site, d := l[name], DefaultLook(name)
	return Look{Label: cmp.Or(site.Label, d.Label), Type: cmp.Or(site.Type, d.Type), Region: cmp.Or(site.Region, d.Region),
		Color: cmp.Or(site.Color, d.Color)}
}

// Sites are the anatomic codes of a lesion, the one with most of it first: lobes for blood within the brain and the ventricle for
// blood in one, unless the site has a code of its own, else the region of the subtype. The finer places of other blood have no
// code that is known to be right; they are said in words.
func (c *Report) Sites(l finding.Lesion) []Code {
	region := c.Look(l.Subtype).Region
	var known map[string]Code
	switch l.Subtype {
	case finding.IPH, finding.ICH:
		known = map[string]Code{finding.Frontal: FrontalLobe, finding.Parietal: ParietalLobe, finding.Temporal: TemporalLobe,
			finding.Occipital: OccipitalLobe, finding.Deep: CerebralHemisphere}
	case finding.IVH:
		known = map[string]Code{finding.LateralVentricle: LateralVentricle, finding.ThirdVentricle: ThirdVentricle, finding.FourthVentricle: FourthVentricle}
	}
	var out []Code
	for _, site := range l.Sites {
		if code, ok := known[site]; ok && c.Looks[l.Subtype.String()].Region == (Code{}) {
			out = append(out, code)
		}
	}
	if len(out) == 0 {
		out = append(out, region)
	}
	return out
}

// LateralityOf is the code of a side; false where none was determined.
func LateralityOf(s finding.Side) (Code, bool) {
	code, ok := map[finding.Side]Code{finding.Left: Left, finding.Right: Right, finding.BothSides: RightAndLeft, finding.Midline: Median}[s]
	return code, ok
}

// Look is how a subtype appears in the objects of this case, CavityLook the intracranial cavity.
func (c *Report) Look(s finding.Subtype) Look { return c.Looks.of(s.String()) }
func (c *Report) CavityLook() Look            { return c.Looks.of(Cavity) }
