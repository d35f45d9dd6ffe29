package scp

import (
	"net/netip"
	"time"

	"ichor/scp/dimse"
)

// EventKind is the kind of an Event.
type EventKind int

const (
	Accepted    EventKind = iota + 1 // association accepted
	Rejected                         // association rejected; Err is a *ul.RejectError
	Released                         // association released by the peer
	Aborted                          // association ended in another way; Err says how
	Echoed                           // C-ECHO answered
	Stored                           // object durable; Status is success
	Refused                          // object or command refused; Status and Err say why
	Unsupported                      // presentation contexts not accepted; SOPClassUID, Reason and Count say which, why and how many
)

// Why a presentation context is not accepted (PS3.8 Table 9-18).
const (
	UnsupportedClass          = "SOP class"
	UnsupportedTransferSyntax = "transfer syntax"
)

func (k EventKind) String() string {
	names := [...]string{"unknown", "accepted", "rejected", "released", "aborted", "echoed", "stored", "refused", "unsupported"}
	if k < 0 || int(k) >= len(names) {
		k = 0
	}
	return names[k]
}

// Event is for the audit trail and metrics. It contains no patient data and no study UID.
type Event struct {
	Kind   EventKind
	Time   time.Time
	Assoc  uint64 // number of the association since start
	Peer   string // calling AE title as given; empty before the request
	Remote netip.AddrPort

	// only for Stored and Refused
	SOPClassUID       string
	TransferSyntaxUID string
	Bytes             int64 // of the data set as received
	Fresh             bool  // false: the same object was already stored
	Conflict          bool  // a different object with the same SOP instance UID was already stored
	Status            dimse.Status

	// of Released and Aborted: what the association brought
	Objects int
	Cases   []string // names of the studies by Options.Name, at most mostCases

	// of Unsupported
	Reason string // UnsupportedClass or UnsupportedTransferSyntax
	Count  int    // of the contexts

	Untold bool // of Rejected and Unsupported: one of too many to be recorded one by one

	Took time.Duration // of a message: from its command set to the response; or of the association
	Err  error
}
