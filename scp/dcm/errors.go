package dcm

import "errors"

// What can be wrong with bytes from elsewhere. Errors of this package wrap one of these.
var (
	// ErrNotDICOM: no preamble with DICM, or no file meta information (PS3.10 §7.1).
	ErrNotDICOM = errors.New("not a DICOM Part 10 file")
	// ErrTruncated: the bytes end inside an element.
	ErrTruncated = errors.New("truncated")
	// ErrLimit: larger, deeper or more than Limits allow.
	ErrLimit = errors.New("over the limit")
	// ErrTransferSyntax: the encoding is not one we read or write.
	ErrTransferSyntax = errors.New("transfer syntax not supported")
	// ErrEncoding: the bytes, or the values to be written, contradict PS3.5.
	ErrEncoding = errors.New("invalid encoding")
	// ErrPixelData: absent, compressed, or not as long as the image attributes say.
	ErrPixelData = errors.New("pixel data not usable")
)
