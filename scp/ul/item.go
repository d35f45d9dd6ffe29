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
	itemUserIdentity          byte = 0x58 // PS3.7 §D.3.3.7
)

// MaxContexts is the number of odd identifiers in one byte (PS3.8 Table 9-13).
const MaxContexts = 128

// maxTransferSyntaxes bounds one proposed context. DICOM defines fewer than sixty.
const maxTransferSyntaxes = 256

// ProposedContext is a presentation context as requested (PS3.8 §9.3.2.2).
type ProposedContext struct {
	ID               byte // odd, 1 to 255
	AbstractSyntax   string
	TransferSyntaxes []string // in the requestor's order, which says nothing about preference
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

// Role is an SCP/SCU role selection for one SOP class (PS3.7 §D.3.3.4).
type Role struct {
	SOPClass string
	SCU, SCP bool // roles of the requestor
}

// Extended is an SOP class extended negotiation item (PS3.7 §D.3.3.5), carried as it is.
type Extended struct {
	SOPClass string
	Data     []byte
}

// UserInformation holds the user items of an A-ASSOCIATE PDU (PS3.8 §9.3.2.3, PS3.7 §D.3.3).
// Common extended negotiation and unknown items are skipped.
type UserInformation struct {
	MaxLength             uint32 // bytes of P-DATA-TF after its header that the sender takes; 0 = no limit
	ImplementationClass   string
	ImplementationVersion string
	AsyncInvoked          uint16 // 0 with AsyncPerformed 0: item absent, that is one operation at a time
	AsyncPerformed        uint16
	Roles                 []Role
	Extended              []Extended
	// IdentityType is the user identity type 1 to 5 that was offered, 0 if none. The identity itself
	// is not kept: nothing here authenticates by it.
	IdentityType byte
}

// appendItem appends an item head and its value. Values are bounded by the callers to 65535 bytes.
func appendItem(b []byte, typ byte, v []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, typ, 0), uint16(len(v)))
	return append(b, v...)
}

// eachItem calls f for every item of b with its type and value. v aliases b.
func eachItem(b []byte, f func(typ byte, v []byte) error) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return fmt.Errorf("item head of %d bytes: %w", len(b), ErrTruncated)
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

// trimText strips the padding that peers use for titles and UIDs: spaces on both sides and NULs.
func trimText(b []byte) string { return strings.Trim(string(b), " \x00") }

// contextSet notes the context identifiers in use.
type contextSet [256]bool

// add reports whether id is odd and was free.
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
	// The item is there even if the context is not accepted; its value is then not significant
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

func (u *UserInformation) encode() []byte {
	b := appendItem(nil, itemMaxLength, binary.BigEndian.AppendUint32(nil, u.MaxLength))
	if u.ImplementationClass != "" {
		b = appendItem(b, itemImplementationClass, []byte(u.ImplementationClass))
	}
	if u.AsyncInvoked != 0 || u.AsyncPerformed != 0 {
		v := binary.BigEndian.AppendUint16(nil, u.AsyncInvoked)
		b = appendItem(b, itemAsyncWindow, binary.BigEndian.AppendUint16(v, u.AsyncPerformed))
	}
	for _, r := range u.Roles {
		v := append(binary.BigEndian.AppendUint16(nil, uint16(len(r.SOPClass))), r.SOPClass...)
		b = appendItem(b, itemRole, append(v, bit(r.SCU), bit(r.SCP)))
	}
	if u.ImplementationVersion != "" {
		b = appendItem(b, itemImplementationVersion, []byte(u.ImplementationVersion))
	}
	for _, e := range u.Extended {
		v := append(binary.BigEndian.AppendUint16(nil, uint16(len(e.SOPClass))), e.SOPClass...)
		b = appendItem(b, itemExtended, append(v, e.Data...))
	}
	return b
}

// decode reads the value of a user information item into u.
func (u *UserInformation) decode(b []byte) error {
	return eachItem(b, func(typ byte, v []byte) error {
		switch typ {
		case itemMaxLength:
			if len(v) != 4 {
				return fmt.Errorf("maximum length item of %d bytes: %w", len(v), ErrValue)
			}
			u.MaxLength = binary.BigEndian.Uint32(v)
		case itemImplementationClass:
			u.ImplementationClass = trimText(v)
		case itemImplementationVersion:
			u.ImplementationVersion = trimText(v)
		case itemAsyncWindow:
			if len(v) != 4 {
				return fmt.Errorf("asynchronous operations item of %d bytes: %w", len(v), ErrValue)
			}
			u.AsyncInvoked, u.AsyncPerformed = binary.BigEndian.Uint16(v), binary.BigEndian.Uint16(v[2:])
		case itemRole:
			uid, rest, err := uidField(v)
			if err != nil || len(rest) < 2 {
				return fmt.Errorf("role selection item of %d bytes: %w", len(v), ErrValue)
			}
			u.Roles = append(u.Roles, Role{SOPClass: uid, SCU: rest[0] == 1, SCP: rest[1] == 1})
		case itemExtended:
			uid, rest, err := uidField(v)
			if err != nil {
				return fmt.Errorf("extended negotiation item of %d bytes: %w", len(v), ErrValue)
			}
			u.Extended = append(u.Extended, Extended{SOPClass: uid, Data: append([]byte(nil), rest...)})
		case itemUserIdentity:
			if len(v) > 0 {
				u.IdentityType = v[0]
			}
		}
		return nil
	})
}

// uidField takes a UID with a 16-bit length in front off b.
func uidField(b []byte) (uid string, rest []byte, err error) {
	if len(b) < 2 {
		return "", nil, ErrTruncated
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > len(b)-2 {
		return "", nil, ErrTruncated
	}
	return trimText(b[2 : 2+n]), b[2+n:], nil
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
