package dcm

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"strings"
)

// PlausibleUID reports whether s can be the UID of an object: at most 64 digits and dots (PS3.5 §9.1). Empty components and
// leading zeros, which some devices write, are accepted: we never change the UIDs of received objects. Without a leading dot,
// a UID in a file name cannot point outside its folder.
func PlausibleUID(s string) bool {
	return len(s) > 0 && len(s) <= 64 && s[0] != '.' && strings.Trim(s, "0123456789.") == ""
}

// DeriveUID makes a UID under 2.25 (PS3.5 §B.2) from 128 bits of the SHA-256 of parts: the same parts in the same
// order always give the same UID. Each part is hashed with its length, so ("ab", "c") and ("a", "bc") differ.
// The version and variant bits are those of a name-based UUID (RFC 9562 §5.8).
func DeriveUID(parts ...string) string {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return uuidUID(h.Sum(nil)[:16], 8)
}

// RandomUID makes a UID under 2.25 from a random UUID (PS3.5 §B.2).
func RandomUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: it ends the process instead (crypto/rand)
	return uuidUID(b[:], 4)
}

func uuidUID(b []byte, version byte) string {
	b[6] = b[6]&0x0F | version<<4
	b[8] = b[8]&0x3F | 0x80
	return "2.25." + new(big.Int).SetBytes(b).String()
}
