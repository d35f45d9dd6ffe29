package iod

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ichor/pipeline/finding"
	"ichor/reporting/words"
	"ichor/scp/dcm"
)

// Manufacturer is ours, in every object.
const Manufacturer = "ichor"

// Equipment fills the General and Enhanced General Equipment modules (PS3.3 §C.7.5.1, §C.7.5.2) and names the networks
// as contributing equipment (§C.12.1). No institution is named: the images already say where they were made.
func (c *Report) Equipment(d *dcm.DataSet) {
	b := c.Finding.Bundle
	d.SetStrings(dcm.Manufacturer, "LO", Manufacturer)
	d.SetStrings(dcm.ManufacturerModelName, "LO", c.Model())
	d.SetStrings(dcm.DeviceSerialNumber, "LO", c.Serial)
	d.SetStrings(dcm.SoftwareVersions, "LO", c.Version, b.Name+" "+b.Version)

	e := &dcm.DataSet{}
	e.SetSequence(dcm.PurposeOfReferenceCodeSequence, ProcessingEquipment.Item())
	e.SetStrings(dcm.Manufacturer, "LO", Manufacturer)
	e.SetStrings(dcm.ManufacturerModelName, "LO", b.Name)
	e.SetStrings(dcm.SoftwareVersions, "LO", b.Version)
	if digest := words.Text(b.Digest, 64); digest != "" {
		e.SetStrings(dcm.DeviceSerialNumber, "LO", digest)
	}
	e.SetStrings(dcm.ContributionDateTime, "DT", c.now().Format("20060102150405-0700"))
	e.SetStrings(dcm.ContributionDescription, "ST", words.Text(c.Bundle()+" "+finding.Disclaimer+" "+c.Settings(), 1024))
	d.SetSequence(dcm.ContributingEquipmentSequence, e)
}

// Model is the model name of the device.
func (c *Report) Model() string { return "ichor intracranial hemorrhage" }

// Bundle says which networks were used, in a sentence.
func (c *Report) Bundle() string {
	b := c.Finding.Bundle
	return fmt.Sprintf("Model bundle %s version %s, sha256 of its manifest %s.", b.Name, b.Version, b.Digest)
}

// Settings are the parameters of the analysis in one line, in a fixed order.
func (c *Report) Settings() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c.Finding.Parameters)) {
		parts = append(parts, name+"="+c.Finding.Parameters[name])
	}
	return strings.Join(parts, "; ")
}

// AlgorithmParameters are the digest of the bundle and the settings.
func (c *Report) AlgorithmParameters() string {
	text := c.Settings()
	if digest := c.Finding.Bundle.Digest; digest != "" {
		text = strings.TrimSuffix("bundle_sha256="+digest+"; "+text, "; ")
	}
	return words.Text(text, 10240) // LT, PS3.5 §6.2
}

// Algorithm is the Algorithm Identification macro (PS3.3 Table 10-19).
func (c *Report) Algorithm() *dcm.DataSet {
	d := &dcm.DataSet{}
	d.SetSequence(dcm.AlgorithmFamilyCodeSequence, ArtificialIntelligence.Item())
	d.SetStrings(dcm.AlgorithmName, "LO", c.Finding.Bundle.Name)
	d.SetStrings(dcm.AlgorithmVersion, "LO", c.Finding.Bundle.Version)
	if p := c.AlgorithmParameters(); p != "" {
		d.SetStrings(dcm.AlgorithmParameters, "LT", p)
	}
	d.SetStrings(dcm.AlgorithmSource, "LO", Manufacturer)
	return d
}
