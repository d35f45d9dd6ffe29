package ul

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Item types (PS3.8 §9.3.2 and §9.3.3; PS3.7 §D.3.3 for the user items).
const (
	itemApplicationContext byte = 0x10
	itemProposedContext    byte = 0x20
	itemContextResult      byte = 0x21
	itemAbstractSyntax     byte = 0x30
	itemTransferSyntax     byte = 0x40
	itemUserInformation    byte = 0x50

	itemMaxLength             byte = 0x51 // PS3.8 §D.1
	itemImplementationClass   byte = 0x52 // PS3.7 §D.3.3.2.1
	itemAsyncWindow           byte = 0x53 // PS3.7 §D.3.3.3
	itemRole                  byte = 0x54 // PS3.7 §D.3.3.4
	itemImplementationVersion byte = 0x55 // PS3.7 §D.3.3.2.3
	itemExtended              byte = 0x56 // PS3.7 §D.3.3.5
	itemCommonExtended        byte = 0x57 // PS3.7 §D.3.3.6
	itemUserIdentity          byte = 0x58 // PS3.7 §D.3.3.7.1
	itemIdentityResponse      byte = 0x59 // PS3.7 §D.3.3.7.2
)

// MaxContexts is the number of odd IDs in one byte (PS3.8 Table 9-13).
const MaxContexts = 128

// maxTransferSyntaxes bounds one proposed context. DICOM defines fewer than sixty.
const maxTransferSyntaxes = 256

// ProposedContext is a presentation context in a request (PS3.8 §9.3.2.2).
type ProposedContext struct {
	ID               byte // odd, 1 to 255
	AbstractSyntax   string
	TransferSyntaxes []string // in the requestor's order, which does not express preference
}

// ContextResult is the acceptor's answer to a proposed context (PS3.8 §9.3.3.2).
type ContextResult struct {
	ID             byte
	Result         byte   // one of the Context... results
	TransferSyntax string // empty unless Result is ContextAccepted
}

// Results of a presentation context (PS3.8 Table 9-18).
const (
	ContextAccepted            byte = 0
	ContextUserRejection       byte = 1
	ContextNoReason            byte = 2
	ContextAbstractUnsupported byte = 3
	ContextTransferUnsupported byte = 4
)

// appendItem appends an item header and its value. Callers limit values to 65535 bytes.
func appendItem(b []byte, typ byte, v []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, typ, 0), uint16(len(v)))
	return append(b, v...)
}

// eachItem calls f with type and value of every item in b. v aliases b.
func eachItem(b []byte, f func(typ byte, v []byte) error) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return fmt.Errorf("item header of %d bytes: %w", len(b), ErrTruncated)
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b)-4 {
			return fmt.Errorf("item %02XH of %d bytes with %d left: %w", b[0], n, len(b)-4, ErrTruncated)
		}
		if err := f(b[0], b[4:4+n]); err != nil {
			return err
		}
		b = b[4+n:]
	}
	return nil
}

// trimText removes the padding that peers use for titles and UIDs: spaces and NULs on both sides.
func trimText(b []byte) string { return strings.Trim(string(b), " \x00") }

// contextSet records the context IDs in use.
type contextSet [256]bool

// add adds id and reports whether it is odd and was not in use.
func (s *contextSet) add(id byte) bool {
	if id%2 == 0 || s[id] {
		return false
	}
	s[id] = true
	return true
}

func (c ProposedContext) append(b []byte) []byte {
	v := []byte{c.ID, 0, 0, 0}
	v = appendItem(v, itemAbstractSyntax, []byte(c.AbstractSyntax))
	for _, ts := range c.TransferSyntaxes {
		v = appendItem(v, itemTransferSyntax, []byte(ts))
	}
	return appendItem(b, itemProposedContext, v)
}

func decodeProposedContext(b []byte) (ProposedContext, error) {
	if len(b) < 4 {
		return ProposedContext{}, fmt.Errorf("presentation context of %d bytes: %w", len(b), ErrTruncated)
	}
	c := ProposedContext{ID: b[0]}
	err := eachItem(b[4:], func(typ byte, v []byte) error {
		switch typ {
		case itemAbstractSyntax:
			c.AbstractSyntax = trimText(v)
		case itemTransferSyntax:
			if len(c.TransferSyntaxes) >= maxTransferSyntaxes {
				return fmt.Errorf("more than %d transfer syntaxes in context %d: %w", maxTransferSyntaxes, c.ID, ErrValue)
			}
			c.TransferSyntaxes = append(c.TransferSyntaxes, trimText(v))
		}
		return nil
	})
	return c, err
}

func (c ContextResult) append(b []byte) []byte {
	v := []byte{c.ID, 0, c.Result, 0}
	// The item is required even if the context is not accepted; its value is then not significant
	// (PS3.8 Table 9-18).
	v = appendItem(v, itemTransferSyntax, []byte(c.TransferSyntax))
	return appendItem(b, itemContextResult, v)
}

func decodeContextResult(b []byte) (ContextResult, error) {
	if len(b) < 4 {
		return ContextResult{}, fmt.Errorf("presentation context result of %d bytes: %w", len(b), ErrTruncated)
	}
	c := ContextResult{ID: b[0], Result: b[2]}
	err := eachItem(b[4:], func(typ byte, v []byte) error {
		if typ == itemTransferSyntax && c.Result == ContextAccepted {
			c.TransferSyntax = trimText(v)
		}
		return nil
	})
	return c, err
}
