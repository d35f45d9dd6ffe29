package iod

import (
	"cmp"
	"fmt"
	"strings"

	"ichor/reporting/words"
	"ichor/scp/dcm"
)

// SeriesName is how one of our series is listed. {model} and {version} in the description stand for those of the bundle.
type SeriesName struct {
	Number      int
	Description string // at most 64 characters
}

// SeriesNames is the table of a site, by the word of the object: SEG, SC, SR, overlay, KEY, REJECTION, CAVITY. Whatever it leaves out is that of
// DefaultSeriesName.
type SeriesNames map[string]SeriesName

// DefaultSeriesName is the table that goes with ichor: a fixed high block of numbers keeps our series last in a list.
func DefaultSeriesName(word string) SeriesName {
	n := SeriesName{Description: "AI ICH " + word + " {model} {version} RUO"}
	switch word {
	case "SEG":
		n.Number = 9001
	case "SC":
		n.Number = 9002
	case "SR":
		n.Number = 9003
	case "overlay":
		n.Number = 9004
	case "KEY":
		n.Number = 9005
	case "REJECTION":
		n.Number = 9006
	case "CAVITY":
		n.Number = 9007
	}
	return n
}

func (n SeriesNames) of(word string) SeriesName {
	site, d := n[word], DefaultSeriesName(word)
	return SeriesName{Number: cmp.Or(site.Number, d.Number), Description: cmp.Or(site.Description, d.Description)}
}

// Series fills the General Series module (PS3.3 §C.7.3.1). Modality is also the word in the description. An SR has its
// own series module without Body Part Examined (PS3.3 §C.17.1) and passes image = false.
func (c *Report) Series(d *dcm.DataSet, modality, word string, image bool) {
	d.SetStrings(dcm.Modality, "CS", modality)
	d.SetStrings(dcm.SeriesInstanceUID, "UI", c.SeriesUID(word))
	d.SetStrings(dcm.SeriesNumber, "IS", fmt.Sprint(c.Names.of(word).Number))
	began := c.now()
	if !c.Began.IsZero() {
		began = c.Began.In(began.Location())
	}
	d.SetStrings(dcm.SeriesDate, "DA", began.Format("20060102"))
	d.SetStrings(dcm.SeriesTime, "TM", began.Format("150405"))
	d.SetStrings(dcm.SeriesDescription, "LO", c.SeriesDescription(word))
	if image {
		d.SetStrings(dcm.BodyPartExamined, "CS", "HEAD")
	} else {
		d.SetSequence(dcm.ReferencedPerformedProcedureStepSequence)
	}
}

// SeriesUID and InstanceUID name the series of one kind of object, and its n-th instance. An updated result has other
// instances in the same series.
func (c *Report) SeriesUID(word string) string {
	return c.LastingUID(append(c.form(word), "series")...)
}
func (c *Report) InstanceUID(word string, n int) string {
	return c.UID(append(c.form(word), "instance", fmt.Sprint(n))...)
}

// form keeps apart what is written once with a binary segmentation and once with a label map.
func (c *Report) form(word string) []string {
	if c.LabelMap {
		return []string{word, "label map"}
	}
	return []string{word}
}

// SeriesDescription tells a reader in a hanging list what this is, from what, and what it is not. A long name of a model
// gives way to the rest.
func (c *Report) SeriesDescription(word string) string {
	const most = 64 // LO, PS3.5 §6.2
	text := strings.ReplaceAll(c.Names.of(word).Description, "{version}", c.Finding.Bundle.Version)
	if n := strings.Count(text, "{model}"); n > 0 {
		room := max(0, most-len([]rune(text))+n*len("{model}")) / n
		text = strings.ReplaceAll(text, "{model}", words.Text(c.Finding.Bundle.Name, room))
	}
	return words.Text(text, most)
}
