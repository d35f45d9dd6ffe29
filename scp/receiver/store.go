package receiver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

// supported accepts every storage SOP class (all have this UID prefix, PS3.4 §B.5), uncompressed or deflated.
func supported(abstractSyntax string) []string {
	if abstractSyntax == dcm.VerificationSOPClass || strings.HasPrefix(abstractSyntax, "1.2.840.10008.5.1.4.1.1.") {
		return []string{dcm.ExplicitVRLittleEndian, dcm.ImplicitVRLittleEndian, dcm.DeflatedExplicitVRLittleEndian}
	}
	return nil
}

// serve serves one association. A release by the peer is not an error.
func (r *Receiver) serve(a *ul.Association) error {
	rq, err := a.Request()
	if err != nil {
		return err
	}
	if f, ok := r.take(func(f *faults) *int { return &f.reject }); ok {
		j := &ul.RejectError{Result: ul.RejectedPermanent, Source: ul.RejectSourceUser, Reason: ul.ReasonNone}
		if f.transient {
			j = &ul.RejectError{Result: ul.RejectedTransient, Source: ul.RejectSourcePresentation, Reason: ul.ReasonCongestion}
		}
		return a.Reject(j)
	}
	if r.o.AETitle != "" && rq.CalledAE != r.o.AETitle {
		return a.Reject(&ul.RejectError{Result: ul.RejectedPermanent, Source: ul.RejectSourceUser, Reason: ul.ReasonCalledAE})
	}
	err = a.Accept(rq, ul.Negotiate(rq, supported), ul.UserInformation{
		ImplementationClass: dcm.ImplementationClassUID, ImplementationVersion: dcm.ImplementationVersionName,
		Roles: ul.AnswerRoles(rq, func(string) bool { return false }),
	})
	if err != nil {
		return err
	}
	conn := dimse.NewConn(a)
	for {
		m, err := conn.Receive()
		switch {
		case errors.Is(err, ul.ErrReleased):
			return a.ConfirmRelease()
		case err != nil:
			return err
		case m.Command.Field == dimse.CEchoRQ:
			err = conn.Respond(m, dimse.StatusSuccess, "")
		case m.Command.Field == dimse.CStoreRQ:
			err = r.store(conn, m, rq.CallingAE, a)
		case m.Command.Field != dimse.CCancelRQ:
			err = conn.Respond(m, dimse.UnrecognizedOperation, "")
		}
		if err != nil {
			return err
		}
	}
}

// store stores one object and answers, or misbehaves if a fault is due.
func (r *Receiver) store(conn *dimse.Conn, m *dimse.Message, callingAE string, a *ul.Association) error {
	o := Instance{
		SOPClassUID: m.Command.AffectedSOPClassUID, SOPInstanceUID: m.Command.AffectedSOPInstanceUID,
		TransferSyntaxUID: m.Context.TransferSyntax, CallingAE: callingAE, Count: 1,
	}
	if m.Data == nil || !dcm.PlausibleUID(o.SOPInstanceUID) || !dcm.PlausibleUID(o.SOPClassUID) {
		return conn.Respond(m, dimse.InvalidInstance, "")
	}
	temp, size, err := r.write(m.Data, o)
	if err != nil {
		return err
	}
	defer os.Remove(temp) // fails if it was renamed
	if f, ok := r.take(func(f *faults) *int { return &f.fail }); ok {
		return conn.Respond(m, f.status, "told to fail")
	}
	if _, ok := r.take(func(f *faults) *int { return &f.abort }); ok {
		a.Abort(errors.New("told to abort"))
		return nil
	}
	if _, ok := r.take(func(f *faults) *int { return &f.hang }); ok {
		// Read but do not answer, until the peer gives up or the receiver closes.
		_, err := conn.Receive()
		return err
	}
	o.Path, o.Size = filepath.Join(r.o.Dir, o.SOPInstanceUID+".dcm"), size
	if err := r.keep(temp, o); err != nil {
		return err
	}
	if r.o.Stored != nil {
		r.o.Stored(o)
	}
	return conn.Respond(m, dimse.StatusSuccess, "")
}

// write writes a data set as a Part 10 file with a temporary name.
func (r *Receiver) write(data io.Reader, o Instance) (name string, size int64, err error) {
	r.mu.Lock()
	r.serial++
	name = filepath.Join(r.o.Dir, fmt.Sprintf(".incoming-%d", r.serial))
	r.mu.Unlock()
	f, err := os.Create(name)
	if err != nil {
		return "", 0, err
	}
	err = dcm.WriteMeta(f, dcm.FileMeta{
		SOPClassUID: o.SOPClassUID, SOPInstanceUID: o.SOPInstanceUID, TransferSyntaxUID: o.TransferSyntaxUID,
	})
	if err == nil {
		_, err = io.Copy(f, data)
	}
	if err == nil {
		size, err = f.Seek(0, io.SeekCurrent)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(name)
		return "", 0, err
	}
	return name, size, nil
}

// keep gives the file its final name and wakes the callers of Wait. A repeated instance replaces the earlier one.
func (r *Receiver) keep(temp string, o Instance) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := os.Rename(temp, o.Path); err != nil {
		return err
	}
	if i, ok := r.index[o.SOPInstanceUID]; ok {
		o.Count += r.objects[i].Count
		r.objects[i] = o
	} else {
		r.index[o.SOPInstanceUID] = len(r.objects)
		r.objects = append(r.objects, o)
	}
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}
