package ul

import (
	"encoding/binary"
	"fmt"
)

// UserInformation holds the user items of an A-ASSOCIATE PDU (PS3.8 §9.3.2.3, PS3.7 §D.3.3). Unknown items are skipped.
type UserInformation struct {
	MaxLength             uint32 // maximum bytes of P-DATA-TF after its header that the sender of this item accepts; 0 = no limit
	ImplementationClass   string
	ImplementationVersion string
	Async                 *AsyncWindow // nil: not negotiated, so one operation at a time
	Roles                 []Role
	Extended              []Extended
	CommonExtended        []CommonExtended // only in a request; there is no answer to it
	Identity              *UserIdentity    // only in a request; nil: none sent
	// Confirmed: the acceptor confirms the identity (PS3.7 §D.3.3.7.2). The server response, which only tickets and
	// assertions have, is discarded.
	Confirmed bool
}

// AsyncWindow is how many operations may be outstanding; 0 means any number (PS3.7 §D.3.3.3).
type AsyncWindow struct{ Invoked, Performed uint16 }

// Role is an SCP/SCU role selection for one SOP class (PS3.7 §D.3.3.4).
type Role struct {
	SOPClass string
	SCU, SCP bool // roles of the requestor
}

// Extended is an SOP class extended negotiation item (PS3.7 §D.3.3.5), kept as raw bytes.
type Extended struct {
	SOPClass string
	Data     []byte
}

// CommonExtended is an SOP class common extended negotiation item (PS3.7 §D.3.3.6).
type CommonExtended struct {
	SOPClass     string
	ServiceClass string
	Related      []string // related general SOP classes
}

func (u *UserInformation) encode() []byte {
	b := appendItem(nil, itemMaxLength, binary.BigEndian.AppendUint32(nil, u.MaxLength))
	if u.ImplementationClass != "" {
		b = appendItem(b, itemImplementationClass, []byte(u.ImplementationClass))
	}
	if u.Async != nil {
		v := binary.BigEndian.AppendUint16(nil, u.Async.Invoked)
		b = appendItem(b, itemAsyncWindow, binary.BigEndian.AppendUint16(v, u.Async.Performed))
	}
	for _, r := range u.Roles {
		b = appendItem(b, itemRole, append(appendUID(nil, r.SOPClass), bit(r.SCU), bit(r.SCP)))
	}
	if u.ImplementationVersion != "" {
		b = appendItem(b, itemImplementationVersion, []byte(u.ImplementationVersion))
	}
	for _, e := range u.Extended {
		b = appendItem(b, itemExtended, append(appendUID(nil, e.SOPClass), e.Data...))
	}
	for _, e := range u.CommonExtended {
		var related []byte
		for _, uid := range e.Related {
			related = appendUID(related, uid)
		}
		v := appendUID(appendUID(nil, e.SOPClass), e.ServiceClass)
		v = binary.BigEndian.AppendUint16(v, uint16(len(related)))
		b = appendItem(b, itemCommonExtended, append(v, related...))
	}
	if u.Identity != nil {
		b = u.Identity.append(b)
	}
	if u.Confirmed {
		b = appendItem(b, itemIdentityResponse, []byte{0, 0}) // no server response: types 1 and 2 have none
	}
	return b
}

// decode decodes the value of a user information item into u.
func (u *UserInformation) decode(b []byte) error {
	return eachItem(b, func(typ byte, v []byte) (err error) {
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
			u.Async = &AsyncWindow{binary.BigEndian.Uint16(v), binary.BigEndian.Uint16(v[2:])}
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
		case itemCommonExtended:
			e, err := decodeCommonExtended(v)
			if err != nil {
				return fmt.Errorf("common extended negotiation item of %d bytes: %w", len(v), ErrValue)
			}
			u.CommonExtended = append(u.CommonExtended, e)
		case itemUserIdentity:
			u.Identity, err = decodeUserIdentity(v)
		case itemIdentityResponse:
			u.Confirmed = true
		}
		return err
	})
}

// decodeCommonExtended decodes the value of the item; the bytes after the list are reserved.
func decodeCommonExtended(b []byte) (e CommonExtended, err error) {
	if e.SOPClass, b, err = uidField(b); err != nil {
		return e, err
	}
	if e.ServiceClass, b, err = uidField(b); err != nil {
		return e, err
	}
	related, _, err := field16(b)
	for err == nil && len(related) > 0 {
		var uid string
		uid, related, err = uidField(related)
		e.Related = append(e.Related, uid)
	}
	return e, err
}

// uidField removes a UID with a 16-bit length prefix from the front of b.
func uidField(b []byte) (uid string, rest []byte, err error) {
	field, rest, err := field16(b)
	return trimText(field), rest, err
}

func appendUID(b []byte, uid string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(uid))), uid...)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
