package iod

import (
	"fmt"
	"strings"
	"time"

	"ichor/reporting/words"
	"ichor/scp/dcm"
)

// Patient fills the Patient module (PS3.3 §C.7.1.1) from the source header. Identifiers and the name are copied as they
// stand; a date or time of an older form is written in the present one; a date, time or code string that its VR forbids is left empty.
func (c *Report) Patient(d *dcm.DataSet) {
	c.copyText(d, dcm.PatientName, "PN")
	c.copyText(d, dcm.PatientID, "LO")
	c.copyDate(d, dcm.PatientBirthDate)
	sex := c.Header.String(dcm.PatientSex)
	if sex != "M" && sex != "F" && sex != "O" {
		sex = ""
	}
	setText(d, dcm.PatientSex, "CS", sex)
	c.copyOptional(d, dcm.IssuerOfPatientID, "LO")
	if items := c.Header.Sequence(dcm.IssuerOfPatientIDQualifiersSequence); len(items) > 0 {
		d.SetSequence(dcm.IssuerOfPatientIDQualifiersSequence, items...)
	}
}

// Study fills the General Study (PS3.3 §C.7.2.1) and Patient Study modules.
func (c *Report) Study(d *dcm.DataSet) {
	d.SetStrings(dcm.StudyInstanceUID, "UI", c.study)
	c.copyDate(d, dcm.StudyDate)
	t, _ := dcm.ParseTime(c.Header.String(dcm.StudyTime))
	setText(d, dcm.StudyTime, "TM", t)
	c.copyText(d, dcm.StudyID, "SH")
	c.copyText(d, dcm.AccessionNumber, "SH")
	if items := c.Header.Sequence(dcm.IssuerOfAccessionNumberSequence); len(items) > 0 {
		d.SetSequence(dcm.IssuerOfAccessionNumberSequence, items...)
	}
	c.copyText(d, dcm.ReferringPhysicianName, "PN")
	c.copyOptional(d, dcm.StudyDescription, "LO")
	if age := c.Header.String(dcm.PatientAge); len(age) == 4 && strings.Trim(age[:3], "0123456789") == "" && strings.Contains("DWMY", age[3:]) {
		d.SetStrings(dcm.PatientAge, "AS", age)
	}
}

// FrameOfReference fills the module of that name (PS3.3 §C.7.4.1).
func (c *Report) FrameOfReference(d *dcm.DataSet) {
	d.SetStrings(dcm.FrameOfReferenceUID, "UI", c.FrameOfReferenceUID())
	c.copyText(d, dcm.PositionReferenceIndicator, "LO")
}

// FrameOfReferenceUID is that of the source; a source without one gets one of its own, derived.
func (c *Report) FrameOfReferenceUID() string {
	if uid := c.Volume.FrameOfReferenceUID; dcm.PlausibleUID(uid) {
		return uid
	}
	return c.LastingUID("frame of reference")
}

// SOPCommon fills the SOP Common module (PS3.3 §C.12.1) and the content date, time and instance number that all three
// objects have.
func (c *Report) SOPCommon(d *dcm.DataSet, class, word string, instance int) {
	now := c.now()
	d.SetStrings(dcm.SpecificCharacterSet, "CS", "ISO_IR 192")
	d.SetStrings(dcm.SOPClassUID, "UI", class)
	d.SetStrings(dcm.SOPInstanceUID, "UI", c.InstanceUID(word, instance))
	d.SetStrings(dcm.InstanceNumber, "IS", fmt.Sprint(instance))
	for _, t := range []dcm.Tag{dcm.InstanceCreationDate, dcm.ContentDate} {
		d.SetStrings(t, "DA", now.Format("20060102"))
	}
	for _, t := range []dcm.Tag{dcm.InstanceCreationTime, dcm.ContentTime} {
		d.SetStrings(t, "TM", now.Format("150405"))
	}
	if _, ok := c.sourceZone(); ok {
		d.SetStrings(dcm.TimezoneOffsetFromUTC, "SH", c.Header.String(dcm.TimezoneOffsetFromUTC))
	}
}

// Lossy repeats that the source went through lossy compression, since what is derived from it did too
// (PS3.3 §C.7.6.1.1.5).
func (c *Report) Lossy(d *dcm.DataSet) {
	if c.Header.String(dcm.LossyImageCompression) != "01" {
		d.SetStrings(dcm.LossyImageCompression, "CS", "00")
		return
	}
	d.SetStrings(dcm.LossyImageCompression, "CS", "01")
	ratios := c.Header.Strings(dcm.LossyImageCompressionRatio)
	methods := c.Header.Strings(dcm.LossyImageCompressionMethod)
	if _, ok := c.Header.Floats(dcm.LossyImageCompressionRatio); ok {
		d.SetStrings(dcm.LossyImageCompressionRatio, "DS", ratios...)
	}
	if len(methods) == len(ratios) && len(methods) > 0 {
		d.SetStrings(dcm.LossyImageCompressionMethod, "CS", methods...)
	}
}

// StudyTime is when the study was done, to the minute; "" where the header has no valid date.
func (c *Report) StudyTime() string {
	day, ok := dcm.ParseDate(c.Header.String(dcm.StudyDate))
	if !ok {
		return ""
	}
	out := day.Format("2006-01-02")
	if t, ok := dcm.ParseTime(c.Header.String(dcm.StudyTime)); ok && len(t) >= 4 {
		out += " " + t[:2] + ":" + t[2:4]
	}
	return out
}

// ContentTime is when the study was analyzed, in the zone of the source.
func (c *Report) ContentTime() time.Time { return c.now() }

// now is the content time in the zone of the source. Timezone Offset From UTC would speak for the copied study time as
// well, so we state it only where the source did, and then use its zone (PS3.3 §C.12.1.1).
func (c *Report) now() time.Time {
	if z, ok := c.sourceZone(); ok {
		return c.Time.In(z)
	}
	return c.Time
}

func (c *Report) sourceZone() (*time.Location, bool) {
	t, err := time.Parse("-0700", c.Header.String(dcm.TimezoneOffsetFromUTC))
	if err != nil {
		return nil, false
	}
	_, offset := t.Zone()
	return time.FixedZone("", offset), true
}

// copyText copies all values: an identifier in which a sender put a backslash is another one without what follows it.
func (c *Report) copyText(d *dcm.DataSet, t dcm.Tag, vr dcm.VR) {
	var values []string
	for _, v := range c.Header.Strings(t) {
		values = append(values, words.Clean(v))
	}
	if len(values) == 1 && values[0] == "" {
		values = nil
	}
	d.SetStrings(t, vr, values...)
}

func (c *Report) copyOptional(d *dcm.DataSet, t dcm.Tag, vr dcm.VR) {
	if v := words.Clean(c.Header.String(t)); v != "" {
		d.SetStrings(t, vr, v)
	}
}

func (c *Report) copyDate(d *dcm.DataSet, t dcm.Tag) {
	v := ""
	if day, ok := dcm.ParseDate(c.Header.String(t)); ok {
		v = day.Format("20060102")
	}
	setText(d, t, "DA", v)
}

// setText puts one value, or none where it is empty (Type 2).
func setText(d *dcm.DataSet, t dcm.Tag, vr dcm.VR, v string) {
	if v == "" {
		d.SetStrings(t, vr)
		return
	}
	d.SetStrings(t, vr, v)
}
