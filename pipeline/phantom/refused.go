package phantom

import (
	"slices"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// refused returns the samples that must be refused; they are small if the pixels do not matter.
func refused() []Sample {
	no := func(name, code, description string, make func(*writing) error) Sample {
		return Sample{Name: name, Description: description, Expected: Expected{finding.Refused, code}, make: make}
	}
	small := func(edit func(k int, d *dcm.DataSet)) func(*writing) error {
		return func(w *writing) error {
			w.series(synthetic.Head(synthetic.Shape{Balls: []synthetic.Ball{{Subtype: finding.IPH, CentreMM: volume.Vec{-25, 10, 0}, RadiusMM: 14}}}), edit)
			return nil
		}
	}
	body := func(edit func(k int, d *dcm.DataSet)) func(*writing) error {
		return func(w *writing) error {
			w.series(synthetic.Chest(), edit)
			return nil
		}
	}
	return []Sample{
		no("contrast", finding.Contrast, "A head after contrast agent, and no series without it.",
			small(text(dcm.ContrastBolusAgent, "LO", "IOHEXOL 350"))),
		no("bone-kernel", finding.BoneKernelOnly, "A head in bone kernel only.", small(text(dcm.ConvolutionKernel, "SH", "BONE"))),
		no("child", finding.Child, "The head of a child of four.", small(func(_ int, d *dcm.DataSet) {
			d.SetStrings(dcm.PatientAge, "AS", "004Y")
			d.Delete(dcm.PatientBirthDate)
		})),
		no("chest", finding.NoHeadCT, "A chest, described as a chest.", body(func(_ int, d *dcm.DataSet) {
			d.SetStrings(dcm.BodyPartExamined, "CS", "CHEST")
			d.SetStrings(dcm.SeriesDescription, "LO", "Chest 5.0")
			d.SetStrings(dcm.ProtocolName, "LO", "Chest routine")
			d.SetStrings(dcm.StudyDescription, "LO", "CT CHEST (SYNTHETIC)")
		})),
		no("chest-unnamed", finding.NoHeadCT, "A chest in a series without description.", body(func(_ int, d *dcm.DataSet) {
			for _, t := range []dcm.Tag{dcm.BodyPartExamined, dcm.SeriesDescription, dcm.ProtocolName, dcm.StudyDescription} {
				d.Delete(t)
			}
		})),
		no("chest-as-head", finding.NoHeadCT, "A chest described as a head by mistake.", body(nil)),
		no("whole-body", finding.TooLong, "A patient from head to thigh in one series described as a head.", func(w *writing) error {
			w.series(synthetic.Figure(700), text(dcm.SeriesDescription, "LO", "Trauma head to pelvis"))
			return nil
		}),
		no("missing-slices", finding.Incomplete, "A head without four slices in a row.", func(w *writing) error {
			if err := small(nil)(w); err != nil {
				return err
			}
			w.files = slices.Delete(w.files, 14, 18)
			return nil
		}),
		no("damaged", finding.Undecodable, "A head with one truncated file.", func(w *writing) error {
			if err := small(nil)(w); err != nil {
				return err
			}
			w.files[20].cut = true
			return nil
		}),
		no("short", finding.TooFewSlices, "Eight slices of a head.", func(w *writing) error {
			if err := small(nil)(w); err != nil {
				return err
			}
			w.files = w.files[12:20]
			return nil
		}),
		no("coronal", finding.NotAxial, "A head acquired in coronal slices.", func(w *writing) error {
			w.series(synthetic.Head(synthetic.Shape{}).Coronal(), nil)
			return nil
		}),
		no("localizer", finding.NotOriginal, "Localizer images only.", func(w *writing) error {
			w.series(synthetic.Head(synthetic.Shape{}).Coronal().Only(12, 13), text(dcm.ImageType, "CS", "ORIGINAL", "PRIMARY", "LOCALIZER"))
			return nil
		}),
		no("uncalibrated", finding.MissingCalibration, "A head without conversion of pixels to Hounsfield units.", small(func(_ int, d *dcm.DataSet) {
			d.Delete(dcm.RescaleSlope)
			d.Delete(dcm.RescaleIntercept)
			d.Delete(dcm.RescaleType)
		})),
		no("metal", finding.Metal, "A head with a clip whose streaks affect most of its slices; detected only by analysis.", func(w *writing) error {
			w.series(synthetic.Head(synthetic.Shape{}).Streaked(volume.Vec{20, 20, 0}), nil)
			return nil
		}),
		no("motion", finding.Motion, "A head that moved from side to side during the scan; detected only by analysis.", func(w *writing) error {
			w.series(synthetic.Head(synthetic.Shape{}).Shaken(9), nil)
			return nil
		}),
		no("perfusion-map", finding.NotHounsfield, "A map of blood flow with Modality CT.", small(func(_ int, d *dcm.DataSet) {
			d.SetStrings(dcm.ImageType, "CS", "DERIVED", "PRIMARY", "AXIAL", "CBF")
			d.SetStrings(dcm.RescaleType, "LO", "ML/100ML/MIN")
		})),
	}
}
