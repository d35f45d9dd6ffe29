package deliver

import (
	"errors"
	"fmt"
	"net/http"

	"ichor/pipeline/state"
	"ichor/reporting/deliver/stow"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

// Unknown is the reason of a delivery that was given up because its destination is gone.
const Unknown = "the destination is no longer in the configuration"

// errFile is in the errors of our own file of an object, errRotten in those of one that holds other bytes than were
// written: no other try will help.
var (
	errFile   = errors.New("the file of the result")
	errRotten = fmt.Errorf("%w changed on disk", errFile)
)

// causeOf says what kept an object from being stored, by what the error is, never by what a destination wrote.
func causeOf(err error) state.Cause {
	var answer *dimse.StatusError
	var web *stow.Error
	var reject *ul.RejectError
	switch {
	case errors.Is(err, errFile):
		return state.FileLost
	case errors.Is(err, ul.ErrNoContext), errors.Is(err, errNoContext):
		return state.NotSupported
	case errors.As(err, &answer):
		return causeOfStatus(answer.Status)
	case errors.As(err, &web) && web.Denied():
		return state.Denied
	case errors.As(err, &web) && web.Refused():
		return state.BadObject
	case errors.As(err, &web) && (web.Code == http.StatusTooManyRequests || web.Code == http.StatusInsufficientStorage):
		return state.Busy
	case errors.As(err, &reject) && !reject.Transient():
		return state.Rejected
	}
	return state.Unreachable
}

// causeOfStatus reads a status of C-STORE (PS3.4 Table B.2-1, PS3.7 §C.5).
func causeOfStatus(s dimse.Status) state.Cause {
	switch {
	case s == dimse.SOPClassNotSupported, s == dimse.NoSuchSOPClass:
		return state.NotSupported
	case s == dimse.NotAuthorized:
		return state.NotAuthorized
	case s.Transient():
		return state.Busy
	}
	return state.BadObject
}

// Remedy says what helps a delivery that was given up, by its cause.
func Remedy(cause state.Cause) string {
	const then = ", then run 'ichor replay'"
	switch cause {
	case state.Unconfigured:
		return "put the destination back into the configuration" + then + ", or give it up with 'ichor dead-letters discard'"
	case state.NotSupported:
		return "set the destination up to store this SOP class" + then
	case state.NotAuthorized:
		return "allow us to store at the destination" + then
	case state.BadObject:
		return "the destination's own log says what it found wrong with the object; correct that" + then
	case state.Busy:
		return "the destination has no room or is overloaded: see to it" + then
	case state.Rejected:
		return "make our AE title and address known to the destination and check its own title" + then
	case state.Denied:
		return "check url and credentials of the destination" + then
	case state.FileLost:
		return "'ichor retry CASE' writes the file anew" + then
	case state.Uncommitted:
		return "see that the destination keeps what it stored and can report to us" + then
	}
	return "see that the destination answers ('ichor check')" + then
}
