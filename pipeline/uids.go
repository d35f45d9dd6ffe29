package pipeline

import (
	"fmt"
	"strings"

	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

// derived counts what was derived for files of research sets: UIDs that are words or missing, and missing SOP classes.
type derived struct {
	uids    int // objects of which a UID was derived
	which   map[dcm.Tag]bool
	assumed int // objects that were assumed to be CT images
}

// complete gives an object what the analysis and its results need: UIDs, which are derived from the words in their place and are
// the same every time, and the SOP class of a slice. number is that of the object in its study.
func (d *derived) complete(f *dcm.File, study string, number int) {
	h := f.Data
	if h.String(dcm.SOPClassUID) == "" {
		class := f.Meta.SOPClassUID
		_, placed := h.Get(dcm.ImagePositionPatient)
		if modality := h.String(dcm.Modality); class == "" && f.Pixels != nil && placed && (modality == "CT" || modality == "") {
			class = dcm.CTImageStorage
			d.assumed++
		}
		if class != "" {
			h.SetStrings(dcm.SOPClassUID, "UI", class)
		}
	}
	incomplete := false
	for _, t := range []dcm.Tag{dcm.StudyInstanceUID, dcm.SeriesInstanceUID, dcm.SOPInstanceUID, dcm.FrameOfReferenceUID} {
		uid := h.String(t)
		if dcm.PlausibleUID(uid) || uid == "" && t == dcm.FrameOfReferenceUID {
			continue
		}
		if uid == "" && t == dcm.SOPInstanceUID && dcm.PlausibleUID(f.Meta.SOPInstanceUID) {
			h.SetStrings(t, "UI", f.Meta.SOPInstanceUID)
			continue
		}
		parts := []string{"ichor", "in place of", t.String(), uid}
		if uid == "" {
			parts = append(parts, study)
			if t == dcm.SOPInstanceUID {
				parts = append(parts, h.String(dcm.SeriesInstanceUID), fmt.Sprint(number))
			}
		}
		h.SetStrings(t, "UI", dcm.DeriveUID(parts...))
		if d.which == nil {
			d.which = map[dcm.Tag]bool{}
		}
		d.which[t], incomplete = true, true
	}
	if incomplete {
		d.uids++
	}
}

// say adds the warnings.
func (d *derived) say(f *finding.Finding, of int) {
	if d.uids > 0 {
		var names []string
		for _, t := range []struct {
			tag  dcm.Tag
			name string
		}{{dcm.StudyInstanceUID, "Study Instance UID"}, {dcm.SeriesInstanceUID, "Series Instance UID"}, {dcm.SOPInstanceUID, "SOP Instance UID"},
			{dcm.FrameOfReferenceUID, "Frame of Reference UID"}} {
			if d.which[t.tag] {
				names = append(names, t.name)
			}
		}
		f.Warnings = append(f.Warnings, fmt.Sprintf("%d of %d objects of the study have no valid %s. The results use UIDs derived from the values found; no archive knows them.", d.uids, of, strings.Join(names, ", ")))
	}
	if d.assumed > 0 {
		f.Warnings = append(f.Warnings, fmt.Sprintf("%d of %d objects of the study have no SOP Class UID; they were assumed to be CT images.", d.assumed, of))
	}
}

// sayAssumed warns about what was assumed because the headers of the analysed series do not say it.
func (r *running) sayAssumed(h *dcm.DataSet, headNamed bool) {
	if r.Scan != nil || len(h.Strings(dcm.ImageType)) > 0 {
		return
	}
	said := "Image Type is missing: the slices were taken for original ones."
	if !headNamed {
		said += " No attribute names the part of the body: the pixels show a head."
	}
	r.Finding.Warnings = append(r.Finding.Warnings, said)
}
