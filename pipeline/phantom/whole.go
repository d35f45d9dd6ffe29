package phantom

import (
	"fmt"

	"ichor/pipeline/phantom/synthetic"
	"ichor/scp/dcm"
)

// whole returns the samples that must be analysed, each a different way of sending a head.
func whole() []Sample {
	same := func(s *synthetic.Study) *synthetic.Study { return s }
	return []Sample{
		analyzed("tilted", "The mixed head with the gantry tilted by 18 degrees: a sheared stack.",
			from("mixed", func(s *synthetic.Study) *synthetic.Study { return s.Tilted(18) }, nil)),
		analyzed("uneven", "The epidural head, slices of the lower half twice as dense.", from("epidural", (*synthetic.Study).Uneven, nil)),
		analyzed("feet-first", "The epidural head, patient feet first, sent in reverse order with meaningless numbers.",
			from("epidural", (*synthetic.Study).FeetFirst, func(k int, d *dcm.DataSet) {
				d.SetStrings(dcm.InstanceNumber, "IS", fmt.Sprint(1+(k*7)%13))
			})),
		analyzed("thin", "The epidural head in slices of 1.25 mm.", from("epidural", func(s *synthetic.Study) *synthetic.Study {
			return s.Matrix(256, 256, [2]float64{2 * s.PixelSpacingMM[0], 2 * s.PixelSpacingMM[1]}).Thin(1.25)
		}, nil)),
		analyzed("odd-matrix", "The mixed head in 511 rows and columns, whose bits do not fill whole bytes.",
			from("mixed", func(s *synthetic.Study) *synthetic.Study { return s.Matrix(511, 511, s.PixelSpacingMM) }, nil)),
		analyzed("rolled", "The epidural head, image rotated by 20 degrees within its plane.",
			from("epidural", func(s *synthetic.Study) *synthetic.Study { return s.Rolled(20) }, nil)),
		analyzed("small-head", "The epidural head at 84 percent of its size, as of a child, of an adult by age.",
			from("epidural", func(s *synthetic.Study) *synthetic.Study { return s.Scaled(0.84) }, nil)),
		analyzed("one-missing", "The mixed head without one slice: analyzed with a warning.", without("mixed", 14)),
		analyzed("copies", "The epidural head, each slice sent twice under another SOP Instance UID.", copies),
		analyzed("no-tags", "The mixed head without attributes that name the body part; its pixels show a skull.", from("mixed", same, func(_ int, d *dcm.DataSet) {
			for _, t := range []dcm.Tag{dcm.BodyPartExamined, dcm.SeriesDescription, dcm.ProtocolName, dcm.StudyDescription, dcm.ImageType} {
				d.Delete(t)
			}
		})),
		analyzed("enhanced", "The epidural head as one multi-frame object (Enhanced CT).", enhanced),
		analyzed("multi-series", "The mixed head: thick and thin slices, bone kernel, coronal reformat, localizer, dose report and a captured page; "+
			"the thick soft-tissue slices must be chosen.", manySeries),
		analyzed("head-and-neck", "A head with its neck and shoulders in one series.", func(w *writing) error {
			w.series(synthetic.Figure(320), text(dcm.SeriesDescription, "LO", "Head and neck"))
			return nil
		}),
		analyzed("two-kernels", "The epidural head in soft-tissue and bone kernel under one Series Instance UID.", twoKernels),
	}
}

func without(stored string, slices ...int) func(*writing) error {
	return func(w *writing) error {
		s, err := w.load(stored)
		if err != nil {
			return err
		}
		w.series(s, nil)
		for i, k := range slices {
			w.files = append(w.files[:k-i], w.files[k-i+1:]...)
		}
		return nil
	}
}

func copies(w *writing) error {
	s, err := w.load("epidural")
	if err != nil {
		return err
	}
	for _, d := range w.series(s, nil) {
		again := d.Clone()
		again.SetStrings(dcm.SOPInstanceUID, "UI", dcm.RandomUID())
		w.add(again)
	}
	return nil
}

func enhanced(w *writing) error {
	s, err := w.load("epidural")
	if err != nil {
		return err
	}
	d, truth := s.Enhanced(synthetic.EnhancedOptions{WriteOptions: w.options})
	w.truth = truth
	w.add(d)
	return nil
}

func twoKernels(w *writing) error {
	s, err := w.load("epidural")
	if err != nil {
		return err
	}
	w.series(s, nil)
	w.series(s, func(_ int, d *dcm.DataSet) {
		d.SetStrings(dcm.ConvolutionKernel, "SH", "BONE")
		d.SetStrings(dcm.SeriesInstanceUID, "UI", w.truth.SeriesInstanceUID)
	})
	return nil
}

func manySeries(w *writing) error {
	s, err := w.load("mixed")
	if err != nil {
		return err
	}
	s = s.Matrix(256, 256, [2]float64{2 * s.PixelSpacingMM[0], 2 * s.PixelSpacingMM[1]})
	thick := w.series(s, nil)
	w.series(s.Thin(1.25), text(dcm.SeriesDescription, "LO", "Head thin 1.25"))
	w.series(s, func(_ int, d *dcm.DataSet) {
		d.SetStrings(dcm.ConvolutionKernel, "SH", "BONE")
		d.SetStrings(dcm.SeriesDescription, "LO", "Head bone 5.0")
	})
	w.series(s.Coronal(), func(_ int, d *dcm.DataSet) {
		d.SetStrings(dcm.ImageType, "CS", "DERIVED", "SECONDARY", "REFORMATTED")
		d.SetStrings(dcm.SeriesDescription, "LO", "Head coronal 5.0")
	})
	for _, d := range w.series(s.Coronal().Only(12, 13), text(dcm.ImageType, "CS", "ORIGINAL", "PRIMARY", "LOCALIZER")) {
		d.SetStrings(dcm.SeriesDescription, "LO", "Scout")
	}
	page := thick[0].Clone() // a page of dose figures inside the series that is to be read, as some scanners send it
	page.SetStrings(dcm.SOPClassUID, "UI", dcm.SecondaryCaptureImageStorage)
	page.SetStrings(dcm.SOPInstanceUID, "UI", dcm.RandomUID())
	page.SetStrings(dcm.ImageType, "CS", "DERIVED", "SECONDARY")
	page.SetStrings(dcm.ConversionType, "CS", "WSD")
	for _, t := range []dcm.Tag{dcm.ImagePositionPatient, dcm.ImageOrientationPatient, dcm.SliceThickness, dcm.SliceLocation} {
		page.Delete(t)
	}
	dose := &dcm.DataSet{}
	for _, t := range []dcm.Tag{dcm.PatientName, dcm.PatientID, dcm.PatientBirthDate, dcm.PatientSex, dcm.StudyInstanceUID, dcm.StudyDate,
		dcm.StudyTime, dcm.AccessionNumber, dcm.ReferringPhysicianName, dcm.StudyID, dcm.StudyDescription} {
		if e, ok := thick[0].Get(t); ok {
			dose.Put(e)
		}
	}
	dose.SetStrings(dcm.SOPClassUID, "UI", dcm.XRayRadiationDoseSRStorage)
	dose.SetStrings(dcm.SOPInstanceUID, "UI", dcm.RandomUID())
	dose.SetStrings(dcm.SeriesInstanceUID, "UI", dcm.RandomUID())
	dose.SetStrings(dcm.Modality, "CS", "SR")
	dose.SetStrings(dcm.SeriesDescription, "LO", "Dose Report")
	w.add(page, dose)
	return nil
}
