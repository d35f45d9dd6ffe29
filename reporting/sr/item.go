package sr

import (
	"ichor/reporting/iod"
	"ichor/scp/dcm"
)

// Relationships of a content item to the one above it (PS3.3 Table C.17.3-8).
const (
	contains           = "CONTAINS"
	hasObsContext      = "HAS OBS CONTEXT"
	hasAcqContext      = "HAS ACQ CONTEXT"
	hasConceptMod      = "HAS CONCEPT MOD"
	hasProperties      = "HAS PROPERTIES"
	mappingResource    = "DCMR"
	continuitySeparate = "SEPARATE"
)

// item starts a content item; an empty relationship is that of the root, a zero name that of an item without one.
func item(relationship, valueType string, name iod.Code) *dcm.DataSet {
	d := &dcm.DataSet{}
	if relationship != "" {
		d.SetStrings(dcm.RelationshipType, "CS", relationship)
	}
	d.SetStrings(dcm.ValueType, "CS", valueType)
	if name != (iod.Code{}) {
		d.SetSequence(dcm.ConceptNameCodeSequence, name.Item())
	}
	return d
}

func codeItem(relationship string, name, value iod.Code) *dcm.DataSet {
	d := item(relationship, "CODE", name)
	d.SetSequence(dcm.ConceptCodeSequence, value.Item())
	return d
}

func textItem(relationship string, name iod.Code, value string) *dcm.DataSet {
	d := item(relationship, "TEXT", name)
	d.SetStrings(dcm.TextValue, "UT", value)
	return d
}

func uidItem(relationship string, name iod.Code, uid string) *dcm.DataSet {
	d := item(relationship, "UIDREF", name)
	d.SetStrings(dcm.UID, "UI", uid)
	return d
}

// numItem is one measured value with its unit (PS3.3 §C.18.1).
func numItem(relationship string, name iod.Code, value string, unit iod.Code) *dcm.DataSet {
	v := &dcm.DataSet{}
	v.SetSequence(dcm.MeasurementUnitsCodeSequence, unit.Item())
	v.SetStrings(dcm.NumericValue, "DS", value)
	d := item(relationship, "NUM", name)
	d.SetSequence(dcm.MeasuredValueSequence, v)
	return d
}

// imageItem refers to an image, or to a part of it that the caller adds to the reference (PS3.3 §C.18.4).
func imageItem(name iod.Code, reference *dcm.DataSet) *dcm.DataSet {
	d := item(contains, "IMAGE", name)
	d.SetSequence(dcm.ReferencedSOPSequence, reference)
	return d
}

func container(relationship string, name iod.Code, children ...*dcm.DataSet) *dcm.DataSet {
	d := item(relationship, "CONTAINER", name)
	d.SetStrings(dcm.ContinuityOfContent, "CS", continuitySeparate)
	d.SetSequence(dcm.ContentSequence, children...)
	return d
}

// Root starts a document: its title, the template that it follows, its content.
func Root(title iod.Code, templateID string, content ...*dcm.DataSet) *dcm.DataSet {
	return template(container("", title, content...), templateID)
}

// Text is a sentence of a document.
func Text(name iod.Code, value string) *dcm.DataSet { return textItem(contains, name, value) }

// Refer points at an object from a document, as an image or as another kind of object (PS3.3 §C.18.3, §C.18.4).
func Refer(reference *dcm.DataSet, image bool) *dcm.DataSet {
	d := imageItem(iod.Code{}, reference)
	if !image {
		d.SetStrings(dcm.ValueType, "CS", "COMPOSITE")
	}
	return d
}

// template says which template of the DICOM Content Mapping Resource a container follows (PS3.3 §C.18.8).
func template(d *dcm.DataSet, id string) *dcm.DataSet {
	t := &dcm.DataSet{}
	t.SetStrings(dcm.MappingResource, "CS", mappingResource)
	t.SetStrings(dcm.TemplateIdentifier, "CS", id)
	d.SetSequence(dcm.ContentTemplateSequence, t)
	return d
}
