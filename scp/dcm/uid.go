package dcm

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"strings"
)

// ValidUID reports whether s is a unique identifier: at most 64 characters, numeric components without leading
// zeros, joined by dots (PS3.5 §9.1).
func ValidUID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if s[i] < '0' || s[i] > '9' {
				return false
			}
			continue
		}
		if n := i - start; n == 0 || n > 1 && s[start] == '0' {
			return false
		}
		start = i + 1
	}
	return true
}

// PlausibleUID is ValidUID with mercy on empty components and leading zeros, which some devices write: what others
// call their objects is kept and referred to as it is. Digits and dots that do not begin with a dot lead no file name
// out of its folder.
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
