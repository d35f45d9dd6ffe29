// Package commitment encodes and decodes the messages of the Storage Commitment Push Model (PS3.4 §J.3): the request, as
// action information of an N-ACTION, and its result, as event information of an N-EVENT-REPORT.
package commitment

import (
	"bytes"
	"errors"
	"fmt"

	"ichor/scp/dcm"
)

// Types of PS3.4 Tables J.3-1 and J.3-2.
const (
	ActionRequest uint16 = 1
	EventComplete uint16 = 1 // everything was committed
	EventFailures uint16 = 2
)

// Reference names one object.
type Reference struct {
	SOPClassUID    string `json:"class"`
	SOPInstanceUID string `json:"instance"`
}

// Request asks the receiver to take responsibility for storing objects.
type Request struct {
	TransactionUID string
	References     []Reference
}

// Promise is a request that we accepted from a peer and whose result the peer has not been told.
type Promise struct {
	Peer string // AE title
	Request
}

// Reason is why an object is not committed, (0008,1197) (PS3.3 §C.14.1.1).
type Reason uint16

const (
	ProcessingFailure     Reason = 0x0110
	NoSuchObject          Reason = 0x0112
	ClassInstanceConflict Reason = 0x0119
	SOPClassNotSupported  Reason = 0x0122
	DuplicateTransaction  Reason = 0x0131
	ResourceLimitation    Reason = 0x0213
)

// String returns the code and its meaning, such as "0112H no such object instance".
func (r Reason) String() string { return fmt.Sprintf("%04XH %s", uint16(r), r.words()) }

func (r Reason) words() string {
	switch r {
	case 0:
		return "no reason given"
	case ProcessingFailure:
		return "processing failure"
	case NoSuchObject:
		return "no such object instance"
	case ClassInstanceConflict:
		return "class-instance conflict"
	case SOPClassNotSupported:
		return "referenced SOP class not supported"
	case DuplicateTransaction:
		return "duplicate transaction UID"
	case ResourceLimitation:
		return "resource limitation"
	}
	return "failure"
}

// Failure is an object that is not committed.
type Failure struct {
	Reference
	Reason Reason
}

// Result answers a Request.
type Result struct {
	TransactionUID string
	Committed      []Reference
	Failed         []Failure
}

// EventType returns the event type of the N-EVENT-REPORT for r.
func (r Result) EventType() uint16 {
	if len(r.Failed) > 0 {
		return EventFailures
	}
	return EventComplete
}

// ErrInvalid is returned for information that cannot be decoded or is incomplete.
var ErrInvalid = errors.New("invalid storage commitment information")

// maxReferences bounds one transaction. A study has a few thousand objects.
const maxReferences = 20_000

var limits = dcm.Limits{HeaderBytes: 4 << 20, Elements: 5 * maxReferences, Depth: 4, Values: 5 * maxReferences}

// Encode returns the action information of r.
func (r Request) Encode(transferSyntax string) ([]byte, error) {
	d := &dcm.DataSet{}
	d.SetStrings(dcm.TransactionUID, "UI", r.TransactionUID)
	d.SetSequence(dcm.ReferencedSOPSequence, items(r.References)...)
	return dcm.EncodeInformation(d, transferSyntax)
}

// DecodeRequest decodes action information. Errors: ErrInvalid.
func DecodeRequest(data []byte, transferSyntax string) (Request, error) {
	d, uid, err := decode(data, transferSyntax)
	if err != nil {
		return Request{}, err
	}
	r := Request{TransactionUID: uid}
	for _, it := range d.Sequence(dcm.ReferencedSOPSequence) {
		ref := reference(it)
		if !dcm.PlausibleUID(ref.SOPClassUID) || !dcm.PlausibleUID(ref.SOPInstanceUID) {
			return Request{}, fmt.Errorf("reference without usable UIDs: %w", ErrInvalid)
		}
		r.References = append(r.References, ref)
	}
	if n := len(r.References); n == 0 || n > maxReferences {
		return Request{}, fmt.Errorf("%d references, must be 1 to %d: %w", n, maxReferences, ErrInvalid)
	}
	return r, nil
}

// Encode returns the event information of r.
func (r Result) Encode(transferSyntax string) ([]byte, error) {
	d := &dcm.DataSet{}
	d.SetStrings(dcm.TransactionUID, "UI", r.TransactionUID)
	if len(r.Committed) > 0 {
		d.SetSequence(dcm.ReferencedSOPSequence, items(r.Committed)...)
	}
	if len(r.Failed) > 0 {
		var failed []*dcm.DataSet
		for _, f := range r.Failed {
			it := item(f.Reference)
			it.SetInts(dcm.FailureReason, "US", int64(f.Reason))
			failed = append(failed, it)
		}
		d.SetSequence(dcm.FailedSOPSequence, failed...)
	}
	return dcm.EncodeInformation(d, transferSyntax)
}

// DecodeResult decodes event information. An object that is both committed and failed counts as failed. Errors: ErrInvalid.
func DecodeResult(data []byte, transferSyntax string) (Result, error) {
	d, uid, err := decode(data, transferSyntax)
	if err != nil {
		return Result{}, err
	}
	r := Result{TransactionUID: uid}
	failed := map[Reference]bool{}
	for _, it := range d.Sequence(dcm.FailedSOPSequence) {
		reason, _ := it.Int(dcm.FailureReason)
		f := Failure{reference(it), Reason(reason)}
		failed[f.Reference] = true
		r.Failed = append(r.Failed, f)
	}
	for _, it := range d.Sequence(dcm.ReferencedSOPSequence) {
		if ref := reference(it); !failed[ref] {
			r.Committed = append(r.Committed, ref)
		}
	}
	return r, nil
}

func item(r Reference) *dcm.DataSet {
	d := &dcm.DataSet{}
	d.SetStrings(dcm.ReferencedSOPClassUID, "UI", r.SOPClassUID)
	d.SetStrings(dcm.ReferencedSOPInstanceUID, "UI", r.SOPInstanceUID)
	return d
}

func items(list []Reference) []*dcm.DataSet {
	out := make([]*dcm.DataSet, 0, len(list))
	for _, r := range list {
		out = append(out, item(r))
	}
	return out
}

func reference(d *dcm.DataSet) Reference {
	return Reference{d.String(dcm.ReferencedSOPClassUID), d.String(dcm.ReferencedSOPInstanceUID)}
}

func decode(data []byte, transferSyntax string) (*dcm.DataSet, string, error) {
	d, err := dcm.ReadDataSet(bytes.NewReader(data), transferSyntax, limits)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	uid := d.String(dcm.TransactionUID)
	if !dcm.PlausibleUID(uid) {
		return nil, "", fmt.Errorf("no Transaction UID (0008,1195): %w", ErrInvalid)
	}
	return d, uid, nil
}
