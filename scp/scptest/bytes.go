// Package scptest has peers for tests: PDUs as annotated bytes, also used as seeds for fuzzing, and a raw connection that
// sends and expects them. It imports none of the packages it tests.
package scptest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// Bytes decodes hex digits. A # starts a comment up to the end of the line. A quoted word stands for its characters. {...}
// gets a 16-bit length prefix, [...] a 32-bit one. Bytes panics on anything else, because its input is written in tests.
func Bytes(s string) []byte {
	p := &parser{s: s}
	b := p.until("")
	return b
}

type parser struct{ s string }

func (p *parser) until(end string) []byte {
	var b []byte
	for {
		p.s = strings.TrimLeft(p.s, " \t\n")
		switch {
		case p.s == "" && end == "":
			return b
		case p.s == "":
			panic("scptest: " + end + " is missing")
		case end != "" && strings.HasPrefix(p.s, end):
			p.s = p.s[len(end):]
			return b
		case p.s[0] == '#':
			_, p.s, _ = strings.Cut(p.s, "\n")
		case p.s[0] == '"':
			var word string
			word, p.s, _ = strings.Cut(p.s[1:], `"`)
			b = append(b, word...)
		case p.s[0] == '[':
			p.s = p.s[1:]
			v := p.until("]")
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
		case p.s[0] == '{':
			p.s = p.s[1:]
			v := p.until("}")
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(v))), v...)
		default:
			if len(p.s) < 2 {
				panic("scptest: odd hex digit in " + p.s)
			}
			v, err := hex.DecodeString(p.s[:2])
			if err != nil {
				panic(fmt.Sprintf("scptest: %q: %v", p.s[:2], err))
			}
			b, p.s = append(b, v...), p.s[2:]
		}
	}
}

// AssociateRQ proposes Verification (1), CT Image in three transfer syntaxes (3) and CT Image in Implicit VR Little Endian
// (5). Maximum length 16384; user items of all types and an unknown one.
var AssociateRQ = Bytes(`
	01 00 [                              # A-ASSOCIATE-RQ, PS3.8 Table 9-11
	0001 0000                             # protocol version 1
	"ICHOR           "                    # called AE
	"SCANNER         "                    # calling AE
	0000000000000000 0000000000000000 0000000000000000 0000000000000000
	10 00 {"1.2.840.10008.3.1.1.1"}       # application context
	20 00 { 01 00 00 00                   # context 1
		30 00 {"1.2.840.10008.1.1"}
		40 00 {"1.2.840.10008.1.2"} }
	20 00 { 03 00 00 00                   # context 3
		30 00 {"1.2.840.10008.5.1.4.1.1.2"}
		40 00 {"1.2.840.10008.1.2.1" 00}  # NUL padded, as some do
		40 00 {"1.2.840.10008.1.2"}
		40 00 {"1.2.840.10008.1.2.4.70"} }
	20 00 { 05 00 00 00                   # context 5, the same SOP class
		30 00 {"1.2.840.10008.5.1.4.1.1.2 "}
		40 00 {"1.2.840.10008.1.2"} }
	50 00 {                               # user information
		51 00 {00004000}                  # maximum length 16384
		52 00 {"1.2.826.0.1.3680043.2.1"} # implementation class
		53 00 {0008 0008}                 # asynchronous operations
		54 00 {{"1.2.840.10008.5.1.4.1.1.2"} 01 01} # role selection
		55 00 {"TESTER_1"}                # implementation version
		56 00 {{"1.2.840.10008.5.1.4.1.1.2"} 0200}  # extended negotiation
		57 00 {{"1.2.840.10008.5.1.4.1.1.2"} {"1.2.840.10008.4.2"} {{"1.2.840.10008.5.1.4.1.1.2"}}} # common extended negotiation
		58 00 {01 01 {"user"} {""}}       # user identity, response wanted
		7F 00 {DEADBEEF} } ]             # unknown`)

// AssociateAC accepts contexts 1 and 3 of AssociateRQ, not 5.
var AssociateAC = Bytes(`
	02 00 [ 0001 0000 "ICHOR           SCANNER         "
	0000000000000000 0000000000000000 0000000000000000 0000000000000000
	10 00 {"1.2.840.10008.3.1.1.1"}
	21 00 { 01 00 00 00 40 00 {"1.2.840.10008.1.2"} }
	21 00 { 03 00 00 00 40 00 {"1.2.840.10008.1.2.1"} }
	21 00 { 05 00 04 00 40 00 {""} }
	50 00 { 51 00 {00000000} 52 00 {"1.2.3"} } ]`)

var (
	// AssociateRJ: transient, presentation, local limit.
	AssociateRJ = Bytes(`03 00 [ 00 02 03 02 ]`)
	// ReleaseRQ and ReleaseRP, PS3.8 §9.3.6 and §9.3.7.
	ReleaseRQ = Bytes(`05 00 [ 00000000 ]`)
	ReleaseRP = Bytes(`06 00 [ 00000000 ]`)
	// Abort is an A-ABORT from the service user.
	Abort = Bytes(`07 00 [ 0000 00 00 ]`)
)

// EchoRQ is a C-ECHO-RQ, message 1, on context 1.
var EchoRQ = Bytes(`
	04 00 [ [ 01 03                     # P-DATA-TF, context 1, command, last
	0000 0000 04000000 38000000           # group length 56
	0000 0200 12000000 "1.2.840.10008.1.1" 00
	0000 0001 02000000 3000               # command field
	0000 1001 02000000 0100               # message ID
	0000 0008 02000000 0101 ] ]         # no data set`)

// StoreRQ is a C-STORE-RQ, message 2, on context 3. The start of its data set is in the same PDU, the rest in another.
var StoreRQ = Bytes(`
	04 00 [ [ 03 03
	0000 0000 04000000 5E000000
	0000 0200 1A000000 "1.2.840.10008.5.1.4.1.1.2" 00
	0000 0001 02000000 0100
	0000 1001 02000000 0200
	0000 0007 02000000 0000
	0000 0008 02000000 0100
	0000 0010 0C000000 "1.2.3.4.5.66" ]
	[ 03 00
	0800 1600 "UI" 1A00 "1.2.840.10008.5.1.4.1.1.2" 00 ] ]
	04 00 [ [ 03 02
	0800 1800 "UI" 0C00 "1.2.3.4.5.66"
	0800 6000 "CS" 0200 "CT"
	2000 0D00 "UI" 0600 "1.2.3" 00
	2000 0E00 "UI" 0800 "1.2.3.4" 00 ] ]`)

// Data wraps a fragment in its own P-DATA-TF. control is the message control header: 1 command, 2 last (PS3.8 §E.2).
func Data(context, control byte, fragment []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{4, 0}, uint32(len(fragment)+6))
	b = binary.BigEndian.AppendUint32(b, uint32(len(fragment)+2))
	return append(append(b, context, control), fragment...)
}

// Seeds returns all of the above and a few invalid PDUs, by name.
func Seeds() map[string][]byte {
	return map[string][]byte{
		"associate-rq": AssociateRQ, "associate-ac": AssociateAC, "associate-rj": AssociateRJ,
		"release-rq": ReleaseRQ, "release-rp": ReleaseRP, "abort": Abort, "echo": EchoRQ, "store": StoreRQ,
		"echo-release":   append(append([]byte{}, EchoRQ...), ReleaseRQ...),
		"store-release":  append(append([]byte{}, StoreRQ...), ReleaseRQ...),
		"unknown-type":   Bytes(`08 00 [ 00000000 ]`),
		"endless-length": Bytes(`04 00 FFFFFFFF FFFFFFFF 01 03`),
		"huge-associate": Bytes(`01 00 FFFFFFFF 0001`),
		"empty-data":     Bytes(`04 00 [ ]`),
		"empty-fragment": Bytes(`04 00 [ [ 01 01 ] [ 01 03 ] ]`),
		"even-context":   Bytes(`04 00 [ [ 02 03 ] ]`),
		"short-item":     Bytes(`04 00 [ 00000001 01 ]`),
	}
}
