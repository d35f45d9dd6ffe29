package reporting_test

import (
	"math"
	"time"

	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/reporting"
	"ichor/scp/dcm"
)

// clock is the content time of all test objects.
func clock() time.Time { return time.Date(2026, 3, 14, 15, 9, 26, 0, time.FixedZone("", 3600)) }

func options() reporting.Options { return reporting.Options{Clock: clock, Version: "0.1.0"} }

// stored says how the columns and rows of a test head run in the patient.
type stored struct {
	alongRow, alongColumn volume.Vec
	gaps                  []float64 // mm between slices, repeated
}

func supine() stored { return stored{volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}, []float64{5}} }

// ball is a bleed or a landmark in patient coordinates, mm.
type ball struct {
	at     volume.Vec
	radius float64
	what   finding.Subtype
	hu     int16
}

// bleeds are all off the midline and all different, so that a mirrored or turned result cannot be mistaken for a right
// one: the patient's left is +x, the back of the head +y (LPS).
func bleeds() []ball {
	return []ball{
		{volume.Vec{32, 10, 10}, 17, finding.IPH, 65},   // left
		{volume.Vec{-10, 22, 4}, 9, finding.IVH, 60},    // right of the midline
		{volume.Vec{-52, -14, 20}, 12, finding.SDH, 62}, // right
		{volume.Vec{18, -60, -6}, 8, finding.EDH, 70},   // left frontal
		{volume.Vec{4, 52, -16}, 7, finding.SAH, 55},    // back
	}
}

// head makes a report of an ellipsoid head with a nose, a thicker skull on the left, and balls for bleeds.
func head(rows, columns, slices int, s stored, bleed []ball) analysis.Analysis {
	const fieldMM = 230.0
	g := volume.Grid{Rows: rows, Columns: columns, AlongRow: s.alongRow, AlongColumn: s.alongColumn,
		SpacingMM: [2]float64{fieldMM / float64(rows), fieldMM / float64(columns)}}
	normal := g.Normal()
	var heights []float64
	for k, z := 0, 0.0; k < slices; k++ {
		heights = append(heights, z)
		z += s.gaps[k%len(s.gaps)]
	}
	middle := heights[slices-1] / 2
	for k := range slices {
		centre := normal.Scale(heights[k] - middle)
		g.Origins = append(g.Origins, centre.
			Sub(s.alongRow.Scale(g.SpacingMM[1]*float64(columns-1)/2)).
			Sub(s.alongColumn.Scale(g.SpacingMM[0]*float64(rows-1)/2)))
		g.SupportMM = append(g.SupportMM, s.gaps[k%len(s.gaps)])
	}
	v := &volume.Volume{Grid: g, HU: make([]int16, rows*columns*slices),
		SeriesInstanceUID: "1.2.826.0.1.3680043.10.1", FrameOfReferenceUID: "1.2.826.0.1.3680043.10.2"}
	labels, cavity := volume.NewMask(&g), volume.NewMask(&g)
	f := finding.Finding{Status: finding.Analyzed, Disclaimer: finding.Disclaimer,
		Bundle:     finding.Bundle{Name: "ichor-synthetic", Version: "0.1.0", Digest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Caution: "Trained on synthetic heads only."},
		Series:     &finding.Series{SeriesInstanceUID: v.SeriesInstanceUID, Number: 3, Slices: slices, SpacingMM: [3]float64{g.SpacingMM[0], g.SpacingMM[1], s.gaps[0]}},
		Parameters: map[string]string{"bleed_threshold": "0.35", "precision": "float32"},
		Volumes:    &finding.Volumes{}, LeastLesionML: 1}
	lesion := map[finding.Subtype]*finding.Lesion{}
	for k := range slices {
		v.Sources = append(v.Sources, volume.Source{SOPClassUID: dcm.CTImageStorage, SOPInstanceUID: dcm.DeriveUID("test head", string(rune('a'+k))), InstanceNumber: slices - k})
		for r := range rows {
			for c := range columns {
				p := g.Point(k, float64(r), float64(c))
				i := (k*rows+r)*columns + c
				hu, in := tissue(p)
				if in {
					cavity.Voxels[i] = 1
					f.CavityML += g.VoxelML(k)
					for _, b := range bleed {
						if p.Sub(b.at).Length() <= b.radius {
							hu = b.hu
							labels.Voxels[i] = uint8(b.what)
							f.Volumes.Set(b.what, f.Volumes.Of(b.what)+g.VoxelML(k))
							f.Volumes.Total += g.VoxelML(k)
							if lesion[b.what] == nil {
								lesion[b.what] = &finding.Lesion{Subtype: b.what, Slices: [2]int{k, k}, CentroidMM: b.at, MaxDiameterMM: 2 * b.radius,
									WidthMM: 1.5 * b.radius, ABC2ML: 1.5 * b.radius * b.radius * b.radius * 2 / 1000}
							}
							lesion[b.what].Slices[1] = k
						}
					}
				}
				v.HU[i] = hu + int16((i*2654435761>>7)%9-4) // grain
			}
		}
	}
	for _, s := range finding.Subtypes {
		if l := lesion[s]; l != nil {
			l.VolumeML, l.Images = f.Volumes.Of(s), [2]int{slices - l.Slices[1], slices - l.Slices[0]}
			if l.Side = finding.Right; l.CentroidMM[0] > 0 {
				l.Side = finding.Left
			}
			f.Lesions = append(f.Lesions, *l)
		}
	}
	if len(f.Lesions) > 0 {
		f.Lesions[0].Position, f.Lesions[0].Sites = "left frontal and parietal, supratentorial", []string{"frontal", "parietal"}
		f.Range = &finding.Range{}
		for k := finding.None; k <= finding.EDH; k++ {
			f.Range.Low.Set(k, 0.8*f.Volumes.Of(k))
			f.Range.High.Set(k, 1.25*f.Volumes.Of(k))
		}
		f.Prior = &finding.Prior{StudyInstanceUID: "1.2.826.0.1.3680043.11", Hours: 6.5, Volumes: finding.Volumes{Total: 20, IPH: 20},
			ChangeML: f.Volumes.Total - 20, ChangePercent: 5 * (f.Volumes.Total - 20), Caution: "Its slices are 5.0 mm apart, these 2.5 mm."}
	}
	return analysis.Analysis{Finding: f, Volume: v, Labels: labels, Cavity: cavity, Header: header()}
}

// tissue is the density of the test head at p, and whether p lies inside the skull.
func tissue(p volume.Vec) (hu int16, inside bool) {
	ellipse := func(x, y, z float64) float64 {
		return math.Sqrt(p[0]*p[0]/(x*x) + p[1]*p[1]/(y*y) + p[2]*p[2]/(z*z))
	}
	nose := p.Sub(volume.Vec{0, -98, -20}).Length() < 14
	left := 0.0
	if p[0] > 0 {
		left = 5 // the skull is thicker on the left
	}
	switch {
	case ellipse(66-left, 82, 90) <= 1:
		ventricle := math.Hypot((math.Abs(p[0])-12)/8, (p[1]-4)/28) < 1 && math.Abs(p[2]) < 22
		if ventricle {
			return 6, true
		}
		if ellipse(58-left, 74, 82) > 1 {
			return 38, true
		}
		return 31, true
	case ellipse(73, 89, 97) <= 1:
		return 900, false
	case ellipse(78, 94, 102) <= 1 || nose:
		return 45, false
	}
	return -1000, false
}

// header is that of one CT image of the series.
func header() *dcm.DataSet {
	d := &dcm.DataSet{}
	d.SetStrings(dcm.SOPClassUID, "UI", dcm.CTImageStorage)
	d.SetStrings(dcm.SOPInstanceUID, "UI", dcm.DeriveUID("test head", "a"))
	d.SetStrings(dcm.StudyInstanceUID, "UI", "1.2.826.0.1.3680043.10")
	d.SetStrings(dcm.SeriesInstanceUID, "UI", "1.2.826.0.1.3680043.10.1")
	d.SetStrings(dcm.Modality, "CS", "CT")
	d.SetStrings(dcm.SeriesNumber, "IS", "3")
	d.SetStrings(dcm.PatientName, "PN", "Äpfel^Jürgen=山田^太郎")
	d.SetStrings(dcm.PatientID, "LO", "ID 007 ")
	d.SetStrings(dcm.PatientBirthDate, "DA", "19600102")
	d.SetStrings(dcm.PatientSex, "CS", "M")
	d.SetStrings(dcm.StudyDate, "DA", "20260314")
	d.SetStrings(dcm.StudyTime, "TM", "140102.5")
	d.SetStrings(dcm.StudyID, "SH", "S1")
	d.SetStrings(dcm.AccessionNumber, "SH", "A-4711")
	d.SetStrings(dcm.ReferringPhysicianName, "PN")
	d.SetStrings(dcm.StudyDescription, "LO", "CT head")
	return d
}

// refused is the report of a study without a series to read.
func refused() analysis.Analysis {
	return analysis.Analysis{Header: header(), Finding: finding.Finding{Status: finding.Refused, Code: "no_axial_series",
		Reason: "No axial CT series of the head. Send the axial series.", Seen: "No axial CT series of the head.", Disclaimer: finding.Disclaimer,
		Bundle: finding.Bundle{Name: "ichor-synthetic", Version: "0.1.0", Digest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}}}
}
