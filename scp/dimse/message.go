package dimse

import (
	"fmt"
	"io"

	"ichor/scp/ul"
)

// Conn exchanges messages over an association. Like the association, only one goroutine may use it at a time.
type Conn struct {
	assoc *ul.Association
	data  *dataSet // of the last message received
	buf   []byte   // for command sets
}

// NewConn returns a Conn for an established association. The caller still owns the association.
func NewConn(a *ul.Association) *Conn { return &Conn{assoc: a} }

// Message is one received message.
type Message struct {
	Context ul.Context
	Command Command
	// Data is the data set as a stream, nil if there is none. It is valid until the next Receive, which
	// skips the unread rest. An error other than io.EOF means that the association has ended.
	Data io.Reader
}

// Receive waits for the next message and reads its command set. ul.ErrReleased: the peer requests release. Any other error
// means that the association has ended; for an invalid message, Receive has sent A-ABORT.
func (c *Conn) Receive() (*Message, error) {
	if c.data != nil {
		_, err := io.Copy(io.Discard, c.data)
		c.data = nil
		if err != nil {
			return nil, err
		}
	}
	c.assoc.MessageEnd()
	var id byte
	c.buf = c.buf[:0]
	for last := false; !last; {
		v, err := c.assoc.Next()
		if err != nil {
			return nil, err
		}
		switch {
		case !v.Command:
			return nil, c.abort(fmt.Errorf("data set fragment instead of a command set: %w", ErrCommand))
		case id != 0 && id != v.ContextID:
			return nil, c.abort(fmt.Errorf("command set on presentation contexts %d and %d: %w", id, v.ContextID, ErrCommand))
		case v.Length > maxCommand-len(c.buf):
			return nil, c.abort(fmt.Errorf("command set longer than %d bytes: %w", maxCommand, ErrCommand))
		}
		id, last = v.ContextID, v.Last
		if err := c.fragment(v.Length); err != nil {
			return nil, err
		}
	}
	cmd, err := DecodeCommand(c.buf)
	if err != nil {
		return nil, c.abort(err)
	}
	m := &Message{Context: c.assoc.Context(id), Command: cmd}
	if cmd.HasDataSet {
		c.data = &dataSet{conn: c, id: id}
		m.Data = c.data
	} else {
		c.assoc.MessageEnd()
	}
	return m, nil
}

// fragment appends n bytes of the current fragment to buf.
func (c *Conn) fragment(n int) error {
	at := len(c.buf)
	c.buf = append(c.buf, make([]byte, n)...)
	for at < len(c.buf) {
		m, err := c.assoc.Read(c.buf[at:])
		at += m
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) abort(cause error) error {
	c.assoc.Abort(cause)
	return c.assoc.Err()
}

// Send sends a message; data is nil if the command has no data set. Errors as for ul.Association.Send.
func (c *Conn) Send(contextID byte, cmd *Command, data io.Reader) error {
	return c.assoc.Send(contextID, cmd.Encode(), data)
}

// Respond answers m with a status. The response has no data set and is sent on the context of the request, in one write.
// comment is for the operator of the peer and must not contain patient data.
func (c *Conn) Respond(m *Message, s Status, comment string) error {
	rsp := Command{
		Field:                  m.Command.Field.response(),
		RespondedTo:            m.Command.MessageID,
		AffectedSOPClassUID:    m.Command.AffectedSOPClassUID,
		AffectedSOPInstanceUID: m.Command.AffectedSOPInstanceUID,
		Status:                 s,
		ErrorComment:           comment,
	}
	if rsp.AffectedSOPClassUID == "" {
		rsp.AffectedSOPClassUID = m.Command.RequestedSOPClassUID
	}
	if rsp.AffectedSOPInstanceUID == "" {
		rsp.AffectedSOPInstanceUID = m.Command.RequestedSOPInstance
	}
	if len(rsp.AffectedSOPClassUID) > 64 || len(rsp.AffectedSOPInstanceUID) > 64 {
		rsp.AffectedSOPClassUID, rsp.AffectedSOPInstanceUID = "", "" // invalid, so not echoed
	}
	return c.Send(m.Context.ID, &rsp, nil)
}

// dataSet reads the data set of a message, fragment by fragment.
type dataSet struct {
	conn *Conn
	id   byte
	last bool // the current fragment is the last one
	err  error
}

func (d *dataSet) Read(p []byte) (int, error) {
	for d.err == nil && len(p) > 0 {
		n, err := d.conn.assoc.Read(p)
		if n > 0 {
			return n, nil
		}
		switch {
		case err != io.EOF:
			d.err = err
		case d.last:
			d.conn.assoc.MessageEnd()
			d.err = io.EOF
		default:
			d.err = d.next()
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	return 0, d.err
}

// next advances to the next fragment of the data set.
func (d *dataSet) next() error {
	v, err := d.conn.assoc.Next()
	switch {
	case err == ul.ErrReleased:
		return d.conn.abort(fmt.Errorf("release in the middle of a message: %w", ErrCommand))
	case err != nil:
		return err
	case v.Command:
		return d.conn.abort(fmt.Errorf("command set instead of a data set: %w", ErrCommand))
	case v.ContextID != d.id:
		return d.conn.abort(fmt.Errorf("data set on presentation context %d, its command set on %d: %w", v.ContextID, d.id, ErrCommand))
	}
	d.last = v.Last
	return nil
}
