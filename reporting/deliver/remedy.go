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

// Unknown is the reason of a delivery that was given up because its destination is no longer configured.
const Unknown = "the destination is no longer in the configuration"

// errFile is wrapped by errors about our own file of an object, errRotten by those about a file whose bytes have changed:
// retrying cannot help.
var (
	errFile   = errors.New("the file of the result")
	errRotten = fmt.Errorf("%w changed on disk", errFile)
)

// causeOf returns why an object was not stored. It depends on the type of the error, never on text from the destination.
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

// causeOfStatus returns the cause for a C-STORE status (PS3.4 Table B.2-1, PS3.7 §C.5).
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

// Remedy returns what an operator can do about a delivery that was given up for this cause.
func Remedy(cause state.Cause) string {
	const then = ", then run 'ichor replay'"
	switch cause {
	case state.Unconfigured:
		return "add the destination to the configuration again" + then + ", or discard the delivery with 'ichor dead-letters discard'"
	case state.NotSupported:
		return "configure the destination to store this SOP class" + then
	case state.NotAuthorized:
		return "authorize ichor to store at the destination" + then
	case state.BadObject:
		return "look in the destination's log for what is wrong with the object, and fix that" + then
	case state.Busy:
		return "the destination is full or overloaded: fix that" + then
	case state.Rejected:
		return "add our AE title and address to the destination's configuration, and check its own AE title" + then
	case state.Denied:
		return "check url and credentials of the destination" + then
	case state.FileLost:
		return "run 'ichor retry CASE' to write the file again" + then
	case state.Uncommitted:
		return "check that the destination keeps stored objects and can report to us" + then
	}
	return "make sure that the destination answers ('ichor check')" + then
}
