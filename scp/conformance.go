package scp

import (
	"slices"

	"ichor/scp/dimse"
)

// What the conformance statement says is read from the tables that the server works by.

// StorageRoot is what the UIDs of the Storage SOP classes begin with that are stored.
const StorageRoot = storageRoot

// OtherStorageClasses lists the SOP classes outside of StorageRoot that are stored, by UID.
func OtherStorageClasses() []string { return slices.Clone(otherStorage) }

// PlainSyntaxes lists the transfer syntaxes of what has no pixels, the preferred first.
func PlainSyntaxes() []string { return slices.Clone(transferSyntaxes) }

// StoreRefusals lists the statuses other than success that C-STORE answers.
func StoreRefusals() (list []dimse.StatusError) {
	for _, r := range refusals {
		list = append(list, dimse.StatusError{Status: r.status, Comment: r.comment})
	}
	return append(list,
		dimse.StatusError{Status: dimse.SOPClassNotSupported, Comment: "SOP class is not that of the presentation context"},
		dimse.StatusError{Status: dimse.InvalidInstance, Comment: "Affected SOP Instance UID is not a UID"},
		dimse.StatusError{Status: dimse.CannotUnderstand, Comment: "C-STORE without data set"})
}
