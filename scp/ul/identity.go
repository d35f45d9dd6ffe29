package ul

import (
	"encoding/binary"
	"fmt"
)

// Types of a user identity (PS3.7 §D.3.3.7, Table D.3-14).
const (
	IdentityUsername byte = 1
	IdentityPasscode byte = 2 // username and passcode
	IdentityKerberos byte = 3
	IdentitySAML     byte = 4
	IdentityJWT      byte = 5
)

// UserIdentity is the user identity item of an A-ASSOCIATE-RQ (PS3.7 §D.3.3.7.1). It may contain secrets: never log it.
type UserIdentity struct {
	Type      byte   // one of the Identity... types
	Respond   bool   // a positive response is requested
	Primary   []byte // username, ticket, assertion or token
	Secondary []byte // passcode, only with IdentityPasscode
}

// Name returns the kind of identity, for errors.
func (u *UserIdentity) Name() string {
	switch u.Type {
	case IdentityUsername:
		return "username"
	case IdentityPasscode:
		return "username and passcode"
	case IdentityKerberos:
		return "Kerberos ticket"
	case IdentitySAML:
		return "SAML assertion"
	case IdentityJWT:
		return "JSON web token"
	}
	return fmt.Sprintf("identity of type %d", u.Type)
}

func (u *UserIdentity) append(b []byte) []byte {
	v := []byte{u.Type, bit(u.Respond)}
	for _, field := range [][]byte{u.Primary, u.Secondary} {
		v = append(binary.BigEndian.AppendUint16(v, uint16(len(field))), field...)
	}
	return appendItem(b, itemUserIdentity, v)
}

// decodeUserIdentity decodes the value of the item. Some peers omit the secondary field if it is empty.
func decodeUserIdentity(b []byte) (*UserIdentity, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("user identity item of %d bytes: %w", len(b), ErrValue)
	}
	u := &UserIdentity{Type: b[0], Respond: b[1] == 1}
	primary, rest, err := field16(b[2:])
	if err == nil && len(rest) > 0 {
		u.Secondary, _, err = field16(rest)
	}
	if err != nil {
		return nil, fmt.Errorf("user identity item of %d bytes: %w", len(b), ErrValue)
	}
	u.Primary, u.Secondary = append([]byte(nil), primary...), append([]byte(nil), u.Secondary...)
	return u, nil
}

// field16 removes a field with a 16-bit length prefix from the front of b. The field aliases b.
func field16(b []byte) (field, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, ErrTruncated
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > len(b)-2 {
		return nil, nil, ErrTruncated
	}
	return b[2 : 2+n], b[2+n:], nil
}
