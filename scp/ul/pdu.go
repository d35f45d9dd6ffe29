package ul

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// PDU types (PS3.8 §9.3.1, Table 9-11 and following).
const (
	typeAssociateRQ byte = 0x01
	typeAssociateAC byte = 0x02
	typeAssociateRJ byte = 0x03
	typeData        byte = 0x04
	typeReleaseRQ   byte = 0x05
	typeReleaseRP   byte = 0x06
	typeAbort       byte = 0x07
)

const (
	headerLen = 6 // type, reserved, 32-bit length of the rest
	pdvHead   = 6 // 32-bit item length, context ID, message control header
	// maxControl bounds an A-ASSOCIATE PDU. 128 contexts with ten transfer syntaxes and a Kerberos
	// ticket as user identity stay far below it.
	maxControl = 256 << 10
)

// ErrTruncated is returned when a PDU or an item is shorter than its length field says.
var ErrTruncated = errors.New("truncated")

// ErrValue is returned when a field has a value that the standard does not allow.
var ErrValue = errors.New("invalid value")

// ErrLength is returned when a PDU is longer or shorter than its type allows.
var ErrLength = errors.New("PDU length")

// header is the first six bytes of every PDU.
type header struct {
	Type   byte
	Length uint32 // of all that follows
}

func decodeHeader(b [headerLen]byte) header {
	return header{Type: b[0], Length: binary.BigEndian.Uint32(b[2:])}
}

func appendHeader(b []byte, typ byte, length int) []byte {
	return binary.BigEndian.AppendUint32(append(b, typ, 0), uint32(length))
}

// check bounds the length of a PDU before its body is read. P-DATA-TF is streamed and may have any length.
func (h header) check() error {
	lo, hi := uint32(4), uint32(4)
	switch h.Type {
	case typeAssociateRQ, typeAssociateAC:
		lo, hi = 68, maxControl
	case typeData:
		return nil
	}
	if h.Length < lo || h.Length > hi {
		return fmt.Errorf("PDU type %02XH of %d bytes: %w", h.Type, h.Length, ErrLength)
	}
	return nil
}

// AssociateRQ is an A-ASSOCIATE-RQ PDU (PS3.8 §9.3.2, Table 9-11).
type AssociateRQ struct {
	ProtocolVersion    uint16 // bit 0 set: version 1
	CalledAE           string
	CallingAE          string
	ApplicationContext string
	Contexts           []ProposedContext
	User               UserInformation
}

// AssociateAC is an A-ASSOCIATE-AC PDU (PS3.8 §9.3.3, Table 9-17). The titles are copied from the request and not checked on
// receipt.
type AssociateAC struct {
	ProtocolVersion    uint16
	CalledAE           string
	CallingAE          string
	ApplicationContext string
	Contexts           []ContextResult
	User               UserInformation
}

// ApplicationContextName is the only application context in DICOM (PS3.7 §A.2.1).
const ApplicationContextName = "1.2.840.10008.3.1.1.1"

const protocolVersion = 1

const maxUID = 64 // PS3.5 §9.1

// Encode returns the whole PDU. ErrValue: a title longer than 16 bytes, an even or repeated context
// ID, more than 128 contexts, an empty or overlong UID.
func (p *AssociateRQ) Encode() ([]byte, error) {
	if len(p.Contexts) > MaxContexts {
		return nil, fmt.Errorf("%d presentation contexts, at most %d are allowed: %w", len(p.Contexts), MaxContexts, ErrValue)
	}
	if id := p.User.Identity; id != nil && len(id.Primary)+len(id.Secondary) > 0xFFFF-6 {
		return nil, fmt.Errorf("%s is longer than an item can hold: %w", id.Name(), ErrValue)
	}
	var seen contextSet
	var items []byte
	for _, c := range p.Contexts {
		if !seen.add(c.ID) {
			return nil, fmt.Errorf("presentation context ID %d is even or used twice: %w", c.ID, ErrValue)
		}
		if len(c.AbstractSyntax) == 0 || len(c.AbstractSyntax) > maxUID || len(c.TransferSyntaxes) > maxTransferSyntaxes {
			return nil, fmt.Errorf("presentation context %d with abstract syntax %q and %d transfer syntaxes: %w",
				c.ID, c.AbstractSyntax, len(c.TransferSyntaxes), ErrValue)
		}
		for _, ts := range c.TransferSyntaxes {
			if len(ts) == 0 || len(ts) > maxUID {
				return nil, fmt.Errorf("transfer syntax %q of presentation context %d: %w", ts, c.ID, ErrValue)
			}
		}
		items = c.append(items)
	}
	return encodeAssociate(typeAssociateRQ, p.ProtocolVersion, p.CalledAE, p.CallingAE, p.ApplicationContext, items, p.User)
}

// Encode returns the whole PDU. Errors as for AssociateRQ.
func (p *AssociateAC) Encode() ([]byte, error) {
	var items []byte
	for _, c := range p.Contexts {
		items = c.append(items)
	}
	return encodeAssociate(typeAssociateAC, p.ProtocolVersion, p.CalledAE, p.CallingAE, p.ApplicationContext, items, p.User)
}

func encodeAssociate(typ byte, version uint16, called, calling, app string, contexts []byte, user UserInformation) ([]byte, error) {
	b := appendHeader(nil, typ, 0)
	b = binary.BigEndian.AppendUint16(b, version)
	b = append(b, 0, 0)
	for _, ae := range []string{called, calling} {
		if len(ae) > 16 {
			return nil, fmt.Errorf("AE title %q is longer than 16 bytes: %w", ae, ErrValue)
		}
		b = append(append(b, ae...), "                "[len(ae):]...)
	}
	b = append(b, make([]byte, 32)...)
	b = appendItem(b, itemApplicationContext, []byte(app))
	b = append(b, contexts...)
	info := user.encode()
	if len(info) > 0xFFFF {
		return nil, fmt.Errorf("user information of %d bytes: %w", len(info), ErrLength)
	}
	b = appendItem(b, itemUserInformation, info)
	if len(b)-headerLen > maxControl {
		return nil, fmt.Errorf("A-ASSOCIATE of %d bytes: %w", len(b), ErrLength)
	}
	binary.BigEndian.PutUint32(b[2:], uint32(len(b)-headerLen))
	return b, nil
}

// decodeAssociateRQ decodes the body of an A-ASSOCIATE-RQ: everything after the header. It removes the padding of titles and
// UIDs. The result does not alias b.
func decodeAssociateRQ(b []byte) (*AssociateRQ, error) {
	if len(b) < 68 {
		return nil, fmt.Errorf("A-ASSOCIATE-RQ of %d bytes: %w", len(b), ErrTruncated)
	}
	p := &AssociateRQ{
		ProtocolVersion: binary.BigEndian.Uint16(b),
		CalledAE:        trimText(b[4:20]),
		CallingAE:       trimText(b[20:36]),
	}
	var seen contextSet
	err := eachItem(b[68:], func(typ byte, v []byte) error {
		switch typ {
		case itemApplicationContext:
			p.ApplicationContext = trimText(v)
		case itemProposedContext:
			c, err := decodeProposedContext(v)
			if err != nil {
				return err
			}
			if !seen.add(c.ID) {
				return fmt.Errorf("presentation context ID %d is even or used twice: %w", c.ID, ErrValue)
			}
			p.Contexts = append(p.Contexts, c)
		case itemUserInformation:
			return p.User.decode(v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// decodeAssociateAC decodes the body of an A-ASSOCIATE-AC.
func decodeAssociateAC(b []byte) (*AssociateAC, error) {
	if len(b) < 68 {
		return nil, fmt.Errorf("A-ASSOCIATE-AC of %d bytes: %w", len(b), ErrTruncated)
	}
	p := &AssociateAC{
		ProtocolVersion: binary.BigEndian.Uint16(b),
		CalledAE:        trimText(b[4:20]),
		CallingAE:       trimText(b[20:36]),
	}
	err := eachItem(b[68:], func(typ byte, v []byte) error {
		switch typ {
		case itemApplicationContext:
			p.ApplicationContext = trimText(v)
		case itemContextResult:
			c, err := decodeContextResult(v)
			if err != nil {
				return err
			}
			if len(p.Contexts) >= MaxContexts {
				return fmt.Errorf("more than %d presentation contexts: %w", MaxContexts, ErrValue)
			}
			p.Contexts = append(p.Contexts, c)
		case itemUserInformation:
			return p.User.decode(v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// encode returns an A-ASSOCIATE-RJ PDU (PS3.8 §9.3.4, Table 9-21).
func (e *RejectError) encode() []byte {
	return append(appendHeader(nil, typeAssociateRJ, 4), 0, e.Result, e.Source, e.Reason)
}

// encode returns an A-ABORT PDU, ten bytes (PS3.8 §9.3.8, Table 9-26).
func (e *AbortError) encode() []byte {
	return append(appendHeader(nil, typeAbort, 4), 0, 0, e.Source, e.Reason)
}

// encodeRelease returns an A-RELEASE-RQ or -RP PDU (PS3.8 §9.3.6, §9.3.7).
func encodeRelease(typ byte) []byte {
	return append(appendHeader(nil, typ, 4), 0, 0, 0, 0)
}

// readBody reads the body of a PDU whose header passed check. It allocates memory as bytes arrive, not by the length in the
// header.
func readBody(r io.Reader, h header) ([]byte, error) {
	var buf bytes.Buffer
	n, err := io.CopyN(&buf, r, int64(h.Length))
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = ErrTruncated
		}
		return nil, fmt.Errorf("PDU type %02XH, %d of %d bytes: %w", h.Type, n, h.Length, err)
	}
	return buf.Bytes(), nil
}

// PDV is the header of one presentation-data-value item (PS3.8 §9.3.5.1, Table 9-23, and §E.2).
type PDV struct {
	ContextID byte
	Command   bool // part of a command set, otherwise of a data set
	Last      bool // last fragment of that command set or data set
	Length    int  // bytes of the fragment, without this header
}

// decodePDV decodes the header of an item; left is the number of bytes left in the PDU, including this header.
func decodePDV(b [pdvHead]byte, left uint32) (PDV, error) {
	n := binary.BigEndian.Uint32(b[:]) // counts everything after itself
	if n < 2 || n > left-4 {
		return PDV{}, fmt.Errorf("PDV length %d with %d bytes left: %w", n, left-4, ErrValue)
	}
	v := PDV{ContextID: b[4], Command: b[5]&0x01 != 0, Last: b[5]&0x02 != 0, Length: int(n - 2)}
	if v.ContextID%2 == 0 { // odd, 1 to 255: Table 9-23
		return PDV{}, fmt.Errorf("presentation context ID %d: %w", v.ContextID, ErrValue)
	}
	return v, nil
}

// appendData appends the headers of a P-DATA-TF PDU with the single item v.
func (v PDV) appendData(b []byte) []byte {
	b = appendHeader(b, typeData, pdvHead+v.Length)
	b = binary.BigEndian.AppendUint32(b, uint32(v.Length+2))
	var control byte
	if v.Command {
		control |= 0x01
	}
	if v.Last {
		control |= 0x02
	}
	return append(b, v.ContextID, control)
}
