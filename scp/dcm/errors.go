package dcm

import "errors"

// Errors of this package wrap one of these.
var (
	// ErrNotDICOM: no preamble with DICM, or no file meta information (PS3.10 §7.1).
	ErrNotDICOM = errors.New("not a DICOM Part 10 file")
	// ErrTruncated: the bytes end inside an element.
	ErrTruncated = errors.New("truncated")
	// ErrLimit: exceeds Limits.
	ErrLimit = errors.New("over the limit")
	// ErrTransferSyntax: we do not read or write this encoding.
	ErrTransferSyntax = errors.New("transfer syntax not supported")
	// ErrEncoding: the bytes, or the values to be written, violate PS3.5.
	ErrEncoding = errors.New("invalid encoding")
	// ErrPixelData: missing, compressed, or of another length than the image attributes require.
	ErrPixelData = errors.New("pixel data not usable")
)
