package ul

import (
	"errors"
	"fmt"
)

// ErrReleased is returned when the peer has requested release. The caller responds with ConfirmRelease.
var ErrReleased = errors.New("release requested by peer")

// ErrClosed is returned when the peer closed the connection without release or abort.
var ErrClosed = errors.New("connection closed by peer without release")

// ErrTimeout is returned when the peer was silent, or transferred too few bytes, for longer than allowed.
var ErrTimeout = errors.New("peer too slow")

// ErrState is returned when a call is not allowed in the state of the association, such as sending after release.
var ErrState = errors.New("not possible in this state of the association")

// ErrNoContext is returned when no accepted presentation context matches the data to send.
var ErrNoContext = errors.New("no accepted presentation context")

// Results, sources and reasons of A-ASSOCIATE-RJ (PS3.8 §9.3.4, Table 9-21).
const (
	RejectedPermanent byte = 1
	RejectedTransient byte = 2

	RejectSourceUser         byte = 1
	RejectSourceACSE         byte = 2
	RejectSourcePresentation byte = 3

	// with RejectSourceUser
	ReasonNone               byte = 1
	ReasonApplicationContext byte = 2
	ReasonCallingAE          byte = 3
	ReasonCalledAE           byte = 7
	// with RejectSourceACSE
	ReasonACSENone        byte = 1
	ReasonProtocolVersion byte = 2
	// with RejectSourcePresentation
	ReasonCongestion byte = 1
	ReasonLocalLimit byte = 2
)

// RejectError is an A-ASSOCIATE-RJ, received or to send.
type RejectError struct {
	Result, Source, Reason byte
}

// Transient reports whether the same request may be accepted later.
func (e *RejectError) Transient() bool { return e.Result == RejectedTransient }

func (e *RejectError) Error() string {
	how := "permanently"
	if e.Transient() {
		how = "for now"
	}
	return fmt.Sprintf("association rejected %s: %s (source %d, reason %d)", how, e.reason(), e.Source, e.Reason)
}

func (e *RejectError) reason() string {
	switch [2]byte{e.Source, e.Reason} {
	case [2]byte{RejectSourceUser, ReasonApplicationContext}:
		return "application context not supported"
	case [2]byte{RejectSourceUser, ReasonCallingAE}:
		return "calling AE title not recognized, add it to the peers of the called node"
	case [2]byte{RejectSourceUser, ReasonCalledAE}:
		return "called AE title not recognized, check the title of the called node"
	case [2]byte{RejectSourceACSE, ReasonProtocolVersion}:
		return "protocol version not supported"
	case [2]byte{RejectSourcePresentation, ReasonCongestion}:
		return "temporary congestion"
	case [2]byte{RejectSourcePresentation, ReasonLocalLimit}:
		return "limit of associations reached"
	}
	return "no reason given"
}

// Sources and reasons of A-ABORT (PS3.8 §9.3.8, Table 9-26). The reason is significant only with AbortSourceProvider.
const (
	AbortSourceUser     byte = 0
	AbortSourceProvider byte = 2

	AbortNoReason              byte = 0
	AbortUnrecognizedPDU       byte = 1
	AbortUnexpectedPDU         byte = 2
	AbortUnrecognizedParameter byte = 4
	AbortUnexpectedParameter   byte = 5
	AbortInvalidParameter      byte = 6
)

// AbortError: the association ended with A-ABORT.
type AbortError struct {
	Source, Reason byte
	Local          bool  // this side aborted
	Err            error // why, if this side aborted; may be nil
}

func (e *AbortError) Unwrap() error { return e.Err }

func (e *AbortError) Error() string {
	who, source := "peer", "service user"
	if e.Local {
		who = "this side"
	}
	if e.Source == AbortSourceProvider {
		source = "service provider, " + e.reason()
	}
	s := fmt.Sprintf("association aborted by %s (%s)", who, source)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *AbortError) reason() string {
	switch e.Reason {
	case AbortUnrecognizedPDU:
		return "unrecognized PDU"
	case AbortUnexpectedPDU:
		return "unexpected PDU"
	case AbortUnrecognizedParameter:
		return "unrecognized PDU parameter"
	case AbortUnexpectedParameter:
		return "unexpected PDU parameter"
	case AbortInvalidParameter:
		return "invalid PDU parameter value"
	}
	return "no reason given"
}
