package dimse

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Field is the Command Field (0000,0100) (PS3.7 §E.1).
type Field uint16

const (
	CStoreRQ        Field = 0x0001
	CStoreRSP       Field = 0x8001
	CGetRQ          Field = 0x0010
	CFindRQ         Field = 0x0020
	CMoveRQ         Field = 0x0021
	CEchoRQ         Field = 0x0030
	CEchoRSP        Field = 0x8030
	NEventReportRQ  Field = 0x0100
	NEventReportRSP Field = 0x8100
	NGetRQ          Field = 0x0110
	NSetRQ          Field = 0x0120
	NActionRQ       Field = 0x0130
	NCreateRQ       Field = 0x0140
	NDeleteRQ       Field = 0x0150
	CCancelRQ       Field = 0x0FFF
)

// Response reports whether the command answers another.
func (f Field) Response() bool { return f&0x8000 != 0 }

// response returns the field of the response to a request.
func (f Field) response() Field { return f | 0x8000 }

func (f Field) String() string {
	names := map[Field]string{
		CStoreRQ: "C-STORE", CGetRQ: "C-GET", CFindRQ: "C-FIND", CMoveRQ: "C-MOVE", CEchoRQ: "C-ECHO",
		NEventReportRQ: "N-EVENT-REPORT", NGetRQ: "N-GET", NSetRQ: "N-SET", NActionRQ: "N-ACTION",
		NCreateRQ: "N-CREATE", NDeleteRQ: "N-DELETE", CCancelRQ: "C-CANCEL",
	}
	name, ok := names[f&0x7FFF]
	switch {
	case !ok:
		return fmt.Sprintf("command %04XH", uint16(f))
	case f.Response():
		return name + "-RSP"
	}
	return name + "-RQ"
}

// noDataSet is the Command Data Set Type (0000,0800) of a message without data set; any other value
// announces one (PS3.7 §E.1).
const noDataSet = 0x0101

// maxCommand bounds a command set. The longest in the standard is below 1 KiB.
const maxCommand = 64 << 10

// ErrCommand is returned for an invalid command set.
var ErrCommand = errors.New("invalid command set")

// Command is a command set (PS3.7 §6.3.1, Annex E). Fields that a command does not have are zero and not sent. Received
// elements that are not listed here are skipped.
type Command struct {
	AffectedSOPClassUID    string // (0000,0002)
	RequestedSOPClassUID   string // (0000,0003)
	Field                  Field  // (0000,0100)
	MessageID              uint16 // (0000,0110), of requests
	RespondedTo            uint16 // (0000,0120), of responses
	Priority               uint16 // (0000,0700) 0 medium, 1 high, 2 low
	HasDataSet             bool   // (0000,0800)
	Status                 Status // (0000,0900), of responses
	ErrorComment           string // (0000,0902), at most 64 characters
	AffectedSOPInstanceUID string // (0000,1000)
	RequestedSOPInstance   string // (0000,1001)
	EventTypeID            uint16 // (0000,1002)
	ActionTypeID           uint16 // (0000,1008)
	MoveOriginator         string // (0000,1030), AE title
	MoveOriginatorID       uint16 // (0000,1031), message ID
}

// Encode returns the command set with its group length. It is always in Implicit VR Little Endian, whatever the transfer
// syntax of the context (PS3.7 §6.3.1).
func (c *Command) Encode() []byte {
	b := make([]byte, 12, 256)
	str := func(element uint16, v string, pad byte) {
		if v == "" {
			return
		}
		if len(v)%2 == 1 {
			v += string(pad)
		}
		b = appendElement(b, element, len(v))
		b = append(b, v...)
	}
	num := func(element, v uint16) {
		b = binary.LittleEndian.AppendUint16(appendElement(b, element, 2), v)
	}
	response := c.Field.Response()
	str(0x0002, c.AffectedSOPClassUID, 0)
	str(0x0003, c.RequestedSOPClassUID, 0)
	num(0x0100, uint16(c.Field))
	switch {
	case response, c.Field == CCancelRQ:
		num(0x0120, c.RespondedTo)
	default:
		num(0x0110, c.MessageID)
	}
	switch c.Field {
	case CStoreRQ, CFindRQ, CGetRQ, CMoveRQ:
		num(0x0700, c.Priority)
	}
	if c.HasDataSet {
		num(0x0800, 0x0001)
	} else {
		num(0x0800, noDataSet)
	}
	if response {
		num(0x0900, uint16(c.Status))
		str(0x0902, comment(c.ErrorComment), ' ')
	}
	str(0x1000, c.AffectedSOPInstanceUID, 0)
	str(0x1001, c.RequestedSOPInstance, 0)
	if c.EventTypeID != 0 {
		num(0x1002, c.EventTypeID)
	}
	if c.ActionTypeID != 0 {
		num(0x1008, c.ActionTypeID)
	}
	if c.MoveOriginator != "" {
		str(0x1030, c.MoveOriginator, ' ')
		num(0x1031, c.MoveOriginatorID)
	}
	head := appendElement(b[:0], 0x0000, 4)
	binary.LittleEndian.AppendUint32(head, uint32(len(b)-12))
	return b
}

// appendElement appends the head of an element of group 0000.
func appendElement(b []byte, element uint16, length int) []byte {
	b = append(b, 0, 0)
	b = binary.LittleEndian.AppendUint16(b, element)
	return binary.LittleEndian.AppendUint32(b, uint32(length))
}

// comment turns s into a valid LO: printable ASCII without backslash, at most 64 characters (PS3.5 §6.2).
func comment(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '\\' {
			return ' '
		}
		return r
	}, s)
	return s[:min(len(s), 64)]
}

// DecodeCommand decodes a command set. It ignores the group length and accepts elements in any order; unknown elements are
// skipped. ErrCommand: invalid lengths, elements of another group, no Command Field or no Command Data Set Type.
func DecodeCommand(b []byte) (Command, error) {
	var c Command
	var field, dataSet bool
	for len(b) > 0 {
		if len(b) < 8 {
			return Command{}, fmt.Errorf("element head of %d bytes: %w", len(b), ErrCommand)
		}
		group, element := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
		n := binary.LittleEndian.Uint32(b[4:])
		if group != 0 {
			return Command{}, fmt.Errorf("element (%04X,%04X): %w", group, element, ErrCommand)
		}
		if uint64(n) > uint64(len(b)-8) {
			return Command{}, fmt.Errorf("element (0000,%04X) of %d bytes with %d left: %w", element, n, len(b)-8, ErrCommand)
		}
		v := b[8 : 8+n]
		b = b[8+n:]
		var err error
		switch element {
		case 0x0002:
			c.AffectedSOPClassUID = text(v)
		case 0x0003:
			c.RequestedSOPClassUID = text(v)
		case 0x0100:
			var f uint16
			f, err = number(element, v)
			c.Field, field = Field(f), true
		case 0x0110:
			c.MessageID, err = number(element, v)
		case 0x0120:
			c.RespondedTo, err = number(element, v)
		case 0x0700:
			c.Priority, err = number(element, v)
		case 0x0800:
			var t uint16
			t, err = number(element, v)
			c.HasDataSet, dataSet = t != noDataSet, true
		case 0x0900:
			var s uint16
			s, err = number(element, v)
			c.Status = Status(s)
		case 0x0902:
			c.ErrorComment = comment(text(v))
		case 0x1000:
			c.AffectedSOPInstanceUID = text(v)
		case 0x1001:
			c.RequestedSOPInstance = text(v)
		case 0x1002:
			c.EventTypeID, err = number(element, v)
		case 0x1008:
			c.ActionTypeID, err = number(element, v)
		case 0x1030:
			c.MoveOriginator = text(v)
		case 0x1031:
			c.MoveOriginatorID, err = number(element, v)
		}
		if err != nil {
			return Command{}, err
		}
	}
	if !field || !dataSet {
		return Command{}, fmt.Errorf("no Command Field (0000,0100) or Command Data Set Type (0000,0800): %w", ErrCommand)
	}
	return c, nil
}

func text(v []byte) string { return strings.Trim(string(v), " \x00") }

// number decodes a US value. Some peers leave elements empty; that counts as 0.
func number(element uint16, v []byte) (uint16, error) {
	switch len(v) {
	case 0:
		return 0, nil
	case 2:
		return binary.LittleEndian.Uint16(v), nil
	}
	return 0, fmt.Errorf("element (0000,%04X) of %d bytes, want 2: %w", element, len(v), ErrCommand)
}
