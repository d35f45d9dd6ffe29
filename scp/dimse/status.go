package dimse

import (
	"fmt"
)

// Status is the Status (0000,0900) of a response (PS3.7 Annex C, PS3.4 Table B.2-1).
type Status uint16

const (
	StatusSuccess Status = 0x0000
	StatusCancel  Status = 0xFE00
	StatusPending Status = 0xFF00

	// PS3.7 Annex C
	AttributeListError    Status = 0x0107
	ProcessingFailure     Status = 0x0110
	DuplicateInstance     Status = 0x0111
	NoSuchInstance        Status = 0x0112
	NoSuchEventType       Status = 0x0113
	InvalidArgument       Status = 0x0115
	InvalidInstance       Status = 0x0117
	NoSuchSOPClass        Status = 0x0118
	ClassInstanceConflict Status = 0x0119
	MissingAttribute      Status = 0x0120
	SOPClassNotSupported  Status = 0x0122
	NoSuchActionType      Status = 0x0123
	NotAuthorized         Status = 0x0124
	DuplicateInvocation   Status = 0x0210
	UnrecognizedOperation Status = 0x0211
	MistypedArgument      Status = 0x0212
	ResourceLimitation    Status = 0x0213

	// C-STORE, PS3.4 Table B.2-1. The low byte (A7, A9) or the low twelve bits (C) are free.
	OutOfResources      Status = 0xA700
	ObjectTooLarge      Status = 0xA702 // an A7xx status: refused because of its size, not because the disk is full
	DataSetMismatch     Status = 0xA900
	CannotUnderstand    Status = 0xC000
	CoercedElements     Status = 0xB000
	WarnDataSetMismatch Status = 0xB007
	ElementsDiscarded   Status = 0xB006
)

// Success reports whether the operation succeeded without a warning.
func (s Status) Success() bool { return s == StatusSuccess }

// Warning reports whether the operation succeeded with a warning: the object is stored.
func (s Status) Warning() bool { return s == 0x0001 || s == 0x0107 || s == 0x0116 || s>>12 == 0xB }

// Pending reports whether more responses follow.
func (s Status) Pending() bool { return s == 0xFF00 || s == 0xFF01 }

// Failure reports whether the operation failed.
func (s Status) Failure() bool { return !s.Success() && !s.Warning() && !s.Pending() }

// Transient reports whether the same operation may succeed later: the peer is out of resources.
func (s Status) Transient() bool { return s>>8 == 0xA7 || s == ResourceLimitation }

// String returns the code and its meaning, such as "A700H out of resources".
func (s Status) String() string { return fmt.Sprintf("%04XH %s", uint16(s), s.words()) }

func (s Status) words() string {
	switch s {
	case StatusSuccess:
		return "success"
	case StatusCancel:
		return "cancelled"
	case 0xFF00, 0xFF01:
		return "pending"
	case AttributeListError:
		return "attribute list error"
	case ProcessingFailure:
		return "processing failure"
	case DuplicateInstance:
		return "duplicate SOP instance"
	case NoSuchInstance:
		return "no such SOP instance"
	case NoSuchEventType:
		return "no such event type"
	case InvalidArgument:
		return "invalid argument value"
	case 0x0116:
		return "attribute value out of range"
	case InvalidInstance:
		return "invalid SOP instance UID"
	case NoSuchSOPClass:
		return "no such SOP class"
	case ClassInstanceConflict:
		return "class-instance conflict"
	case MissingAttribute:
		return "missing attribute"
	case SOPClassNotSupported:
		return "SOP class not supported"
	case NoSuchActionType:
		return "no such action type"
	case NotAuthorized:
		return "not authorized"
	case DuplicateInvocation:
		return "duplicate invocation"
	case UnrecognizedOperation:
		return "unrecognized operation"
	case MistypedArgument:
		return "mistyped argument"
	case ResourceLimitation:
		return "resource limitation"
	case CoercedElements:
		return "stored, elements coerced"
	case ElementsDiscarded:
		return "stored, elements discarded"
	case WarnDataSetMismatch:
		return "stored, data set does not match SOP class"
	}
	switch {
	case s>>8 == 0xA7:
		return "refused: out of resources"
	case s>>8 == 0xA9:
		return "data set does not match SOP class"
	case s>>12 == 0xC:
		return "cannot understand"
	case s>>12 == 0xB:
		return "warning"
	}
	return "failure"
}

// StatusError is a status other than success, with the cause on this side or the comment from the peer.
type StatusError struct {
	Status  Status
	Comment string // Error Comment (0000,0902) as sent; contains no patient data
	Err     error  // cause, may be nil
}

func (e *StatusError) Unwrap() error { return e.Err }

func (e *StatusError) Error() string {
	s := "status " + e.Status.String()
	if e.Comment != "" {
		s += " (" + e.Comment + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}
