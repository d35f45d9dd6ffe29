package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	"ichor/pipeline/state"
	"ichor/reporting/deliver/stow"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

// errNoContext: the destination refused all presentation contexts for an object (PS3.8 §9.3.3.2).
var errNoContext = errors.New("presentation context not accepted; configure the destination to store this SOP class")

// attempt opens one association, sends a batch over it, and requests commitment.
func (l *line) attempt(ctx context.Context, batch []state.Delivery) {
	offer, heard := l.contexts(batch), false
	if l.dest.Commitment {
		offer = append(offer, ul.ProposedContext{ID: byte(2*len(offer) + 1), AbstractSyntax: dcm.StorageCommitmentPushModel, TransferSyntaxes: informationSyntaxes})
	}
	peer, err := l.opts.Dial(ctx, l.dest, dimse.ConnectOptions{
		Address:   l.dest.Address,
		CallingAE: l.dest.CallingAE,
		CalledAE:  l.dest.CalledAE,
		Contexts:  offer,
		Events: func(e dimse.Event) dimse.Status {
			heard = true
			return l.event(e)
		},
		ConnectTimeout:  l.dest.ConnectTimeout,
		ResponseTimeout: l.dest.ResponseTimeout,
	})
	if err != nil {
		if ctx.Err() != nil {
			return
		}
		why := destination
		if reject := new(ul.RejectError); errors.As(err, &reject) && !reject.Transient() {
			why = rejected
		}
		l.down(err)
		if len(batch) > 0 {
			l.failed(batch, err, why, false, 0)
		}
		return
	}

	// The current object has DrainTime to finish after ctx is done.
	inFlight, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	watched := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(l.opts.DrainTime):
			cancel()
		case <-inFlight.Done():
		}
	})
	defer watched()
	for _, d := range batch {
		if ctx.Err() != nil {
			break
		}
		next := l.send(ctx, inFlight, peer, d)
		if next == abort {
			peer.Abort()
			return
		}
		if next == stop {
			break
		}
	}
	if l.dest.Commitment && ctx.Err() == nil && !l.ask(ctx, inFlight, peer, &heard) {
		peer.Abort()
		return
	}
	if err := peer.Release(inFlight); err != nil { // earlier answers remain valid
		l.log.Debug("association not released", "err", err)
	}
}

// verdict is what to do with an association after an object.
type verdict int

const (
	proceed verdict = iota
	stop            // the destination is out of resources: do not send the others
	abort           // the association is broken
)

// send sends one object and records the outcome.
func (l *line) send(ctx, inFlight context.Context, peer Peer, d state.Delivery) verdict {
	if now, err := l.opts.State.Delivery(d.DeliveryKey); err == nil && now.State != state.Pending {
		return proceed // superseded while others were sent
	}
	if !l.may(d) {
		return proceed
	}
	transferSyntax, err := l.choose(peer, d)
	if err != nil {
		l.refused(d, err, refused, 0)
		return proceed
	}
	data, err := l.opts.Open(d, transferSyntax)
	if err != nil { // our own file: not the destination's fault, but retrying hardly helps
		l.failed([]state.Delivery{d}, fmt.Errorf("%w: %w", errFile, err), blameOfFile(err), true, 0)
		return proceed
	}
	defer data.Close()
	source := &sourceReader{r: data}
	begin := time.Now()
	status, err := peer.Store(inFlight, dimse.StoreRequest{
		SOPClassUID:       d.SOPClassUID,
		SOPInstanceUID:    d.SOPInstanceUID,
		TransferSyntaxUID: transferSyntax,
		Data:              source,
		Priority:          priority(d),
	})
	took := time.Since(begin)
	one := []state.Delivery{d}
	var answer *dimse.StatusError
	var web *stow.Error
	switch {
	case err == nil && status.Warning(): // stored, with a warning (PS3.4 Table B.2-1)
		l.up()
		l.stored(ctx, d, l.opts.State.MarkStored, status.String(), took)
	case err == nil:
		l.up()
		l.stored(ctx, d, l.opts.State.MarkStored, "", took)
	case errors.As(err, &answer) && answer.Status == dimse.DuplicateInstance:
		// It already has this SOP Instance UID (PS3.7 §C.5.9), usually from a C-STORE whose answer did not arrive.
		l.up()
		l.stored(ctx, d, l.opts.State.MarkPresent, answer.Error(), took)
	case errors.As(err, &answer) && answer.Status.Transient():
		l.down(err)
		l.failed(one, err, destination, true, took)
		return stop
	case errors.As(err, &answer) && never(answer.Status):
		l.refused(d, err, hopeless, took)
	case errors.As(err, &answer), errors.Is(err, ul.ErrNoContext):
		l.refused(d, err, refused, took)
	case errors.As(err, &web) && web.Denied():
		l.down(err)
		l.failed(one, err, rejected, true, took)
		return stop
	case errors.As(err, &web) && web.Refused():
		l.refused(d, err, refused, took)
	case source.err != nil: // reading our own file failed, which aborted the association
		l.failed(one, fmt.Errorf("%w: %w", errFile, source.err), blameOfFile(source.err), true, took)
		return abort
	default: // no answer: the destination may or may not have the object
		l.down(err)
		l.failed(one, err, destination, true, took)
		return abort
	}
	return proceed
}

// blameOfFile: a file that changed on disk stays wrong, but a lack of resources or a failing disk says nothing about the file.
func blameOfFile(err error) blame {
	if errors.Is(err, errRotten) {
		return hopeless
	}
	for _, passes := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EIO} {
		if errors.Is(err, passes) {
			return destination // wait without counting a try
		}
	}
	return refused
}

// never reports whether a status means that the destination, as configured, can never store this object (PS3.7 §C.5). Archives
// also use other codes, such as C000H, for temporary faults.
func never(s dimse.Status) bool {
	switch s {
	case dimse.SOPClassNotSupported, dimse.NoSuchSOPClass, dimse.InvalidInstance, dimse.ClassInstanceConflict:
		return true
	}
	return false
}

// priority returns the priority of the C-STORE (PS3.7 §9.1.1.1.3).
func priority(d state.Delivery) uint16 {
	switch {
	case d.Priority > state.Routine:
		return 1
	case d.Priority < state.Routine:
		return 2
	}
	return 0
}

// sourceReader records an error of our own file, to distinguish it from a network error.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// syntaxes returns the transfer syntaxes for an object, the best first: deflated for a segmentation, if configured; that of the
// file; then those of which every destination must support one (PS3.5 §10.1).
func (l *line) syntaxes(d state.Delivery) []string {
	list := []string{dcm.ExplicitVRLittleEndian, dcm.ImplicitVRLittleEndian}
	if ts := d.TransferSyntaxUID; ts != "" && ts != list[0] {
		list = append([]string{ts}, slices.DeleteFunc(list, func(s string) bool { return s == ts })...)
	}
	if l.dest.Deflate && (d.SOPClassUID == dcm.SegmentationStorage || d.SOPClassUID == dcm.LabelMapSegmentationStorage) {
		list = append([]string{dcm.DeflatedExplicitVRLittleEndian}, list...)
	}
	return list
}

// contexts proposes a separate context for each SOP class and transfer syntax of a batch: with several transfer syntaxes in one
// context the acceptor chooses, and many choose Implicit VR.
func (l *line) contexts(batch []state.Delivery) []ul.ProposedContext {
	var list []ul.ProposedContext
	for _, d := range batch {
		for _, ts := range l.syntaxes(d) {
			known := slices.ContainsFunc(list, func(c ul.ProposedContext) bool {
				return c.AbstractSyntax == d.SOPClassUID && c.TransferSyntaxes[0] == ts
			})
			if !known {
				list = append(list, ul.ProposedContext{ID: byte(2*len(list) + 1), AbstractSyntax: d.SOPClassUID, TransferSyntaxes: []string{ts}})
			}
		}
	}
	return list
}

// choose returns the best transfer syntax that the peer accepted for an object. After a refusal it returns the next best, because
// the peer may have accepted a syntax that it cannot decode.
func (l *line) choose(peer Peer, d state.Delivery) (string, error) {
	accepted := peer.Accepted(d.SOPClassUID)
	usable := slices.DeleteFunc(l.syntaxes(d), func(ts string) bool { return !slices.Contains(accepted, ts) })
	if len(usable) == 0 {
		return "", fmt.Errorf("%s: %w", dcm.UIDName(d.SOPClassUID), errNoContext)
	}
	return usable[d.Refused%len(usable)], nil
}
