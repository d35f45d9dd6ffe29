package scp

import (
	"slices"

	"ichor/scp/dimse"
)

// The conformance statement is generated from the tables that the server uses.

// StorageRoot is the prefix of the UIDs of the storage SOP classes that are stored.
const StorageRoot = storageRoot

// OtherStorageClasses returns the UIDs of the other SOP classes that are stored, sorted.
func OtherStorageClasses() []string { return slices.Clone(otherStorage) }

// PlainSyntaxes returns the transfer syntaxes for objects without pixels, the preferred one first.
func PlainSyntaxes() []string { return slices.Clone(transferSyntaxes) }

// StoreRefusals returns the statuses other than success that a C-STORE response can have.
func StoreRefusals() (list []dimse.StatusError) {
	for _, r := range refusals {
		list = append(list, dimse.StatusError{Status: r.status, Comment: r.comment})
	}
	return append(list,
		dimse.StatusError{Status: dimse.SOPClassNotSupported, Comment: "SOP class differs from that of the presentation context"},
		dimse.StatusError{Status: dimse.InvalidInstance, Comment: "Affected SOP Instance UID is not a UID"},
		dimse.StatusError{Status: dimse.CannotUnderstand, Comment: "C-STORE without data set"})
}
