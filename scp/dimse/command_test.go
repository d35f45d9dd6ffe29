package dimse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"ichor/scp/scptest"
)

// echoCommand is the command set of scptest.EchoRQ: P-DATA-TF and item heads are twelve bytes.
var echoCommand = scptest.EchoRQ[12:]

func TestCommandBytes(t *testing.T) {
	c := Command{Field: CEchoRQ, MessageID: 1, AffectedSOPClassUID: "1.2.840.10008.1.1"}
	if got := c.Encode(); !bytes.Equal(got, echoCommand) {
		t.Errorf("% X\nwant % X", got, echoCommand)
	}
	got, err := DecodeCommand(echoCommand)
	if err != nil || got != c {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCommandRoundTrip(t *testing.T) {
	for _, c := range []Command{
		{Field: CStoreRQ, MessageID: 65535, Priority: 2, HasDataSet: true, AffectedSOPClassUID: "1.2", AffectedSOPInstanceUID: "1.2.3", MoveOriginator: "MOVER", MoveOriginatorID: 4},
		{Field: CStoreRSP, RespondedTo: 3, Status: OutOfResources, ErrorComment: "no disk space", AffectedSOPClassUID: "1.2.3", AffectedSOPInstanceUID: "1.22"},
		{Field: NActionRQ, MessageID: 1, RequestedSOPClassUID: "1.2", RequestedSOPInstance: "1.3", ActionTypeID: 1, HasDataSet: true},
		{Field: NEventReportRQ, MessageID: 1, AffectedSOPClassUID: "1.2", AffectedSOPInstanceUID: "1.3", EventTypeID: 2, HasDataSet: true},
		{Field: CCancelRQ, RespondedTo: 9},
	} {
		b := c.Encode()
		if len(b)%2 != 0 || binary.LittleEndian.Uint32(b[8:]) != uint32(len(b)-12) {
			t.Errorf("%s: %d bytes, group length %d", c.Field, len(b), binary.LittleEndian.Uint32(b[8:]))
		}
		for last := -1; len(b) > 0; { // ascending tags, even lengths: PS3.5 §7.1
			e, n := int(binary.LittleEndian.Uint16(b[2:])), int(binary.LittleEndian.Uint32(b[4:]))
			if e <= last || n%2 != 0 {
				t.Errorf("%s: element %04X of %d bytes after %04X", c.Field, e, n, last)
			}
			last, b = e, b[8+n:]
		}
		if got, err := DecodeCommand(c.Encode()); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%+v\nwant %+v, %v", got, c, err)
		}
	}
}

func TestCommandDecode(t *testing.T) {
	least := "0000 0001 02000000 3000  0000 0008 02000000 0101 "
	for name, c := range map[string]struct {
		in string
		ok bool
	}{
		"least":              {least, true},
		"unknown element":    {least + "0000 0050 02000000 4142", true},
		"padded UID":         {least + `0000 0200 06000000 "1.2" 202000`, true},
		"empty number":       {least + "0000 1001 00000000", true},
		"wrong group length": {"0000 0000 04000000 FFFFFFFF " + least, true},
		"nothing":            {"", false},
		"no data set type":   {"0000 0001 02000000 3000", false},
		"half an element":    {least + "0000 00", false},
		"length too long":    {least + "0000 0200 FFFFFFFF 31", false},
		"other group":        {least + "0800 0500 00000000", false},
		"number of 4 bytes":  {least + "0000 1001 04000000 00000000", false},
	} {
		got, err := DecodeCommand(scptest.Bytes(c.in))
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrCommand) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	got, err := DecodeCommand(scptest.Bytes(least + `0000 0200 06000000 "1.2" 202000`))
	if err != nil || got.AffectedSOPClassUID != "1.2" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestComment(t *testing.T) {
	if got := comment("a\\b\nc\xffd" + strings.Repeat("x", 100)); len(got) != 64 || strings.ContainsAny(got, "\\\n") || !utf8.ValidString(got) {
		t.Errorf("%q", got)
	}
}

func TestStatus(t *testing.T) {
	for s, want := range map[Status]string{
		0x0000: "success", 0xB000: "warning", 0xB007: "warning", 0x0107: "warning", 0xFF00: "pending", 0xFF01: "pending",
		0xA700: "failure", 0xA7FF: "failure", 0xA900: "failure", 0xC123: "failure", 0x0110: "failure", 0x0211: "failure", 0xFE00: "failure",
	} {
		got := []string{}
		for name, is := range map[string]bool{"success": s.Success(), "warning": s.Warning(), "failure": s.Failure(), "pending": s.Pending()} {
			if is {
				got = append(got, name)
			}
		}
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s is %v, want %s", s, got, want)
		}
	}
	for s, want := range map[Status]string{
		OutOfResources: "A700H refused: out of resources", 0xA7AB: "A7ABH refused: out of resources", 0xC001: "C001H cannot understand", 0x1234: "1234H failure",
	} {
		if s.String() != want {
			t.Errorf("%q, want %q", s, want)
		}
	}
}

func TestFieldNames(t *testing.T) {
	for f, want := range map[Field]string{CEchoRQ: "C-ECHO-RQ", CStoreRSP: "C-STORE-RSP", 0x0777: "command 0777H"} {
		if f.String() != want {
			t.Errorf("%q, want %q", f, want)
		}
	}
}

func FuzzCommand(f *testing.F) {
	f.Add(echoCommand)
	f.Add((&Command{Field: CStoreRSP, Status: OutOfResources, ErrorComment: "x", AffectedSOPInstanceUID: "1.2"}).Encode())
	f.Add((&Command{Field: CStoreRQ, HasDataSet: true, MoveOriginator: "A", MoveOriginatorID: 1}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCommand(b)
		if err != nil {
			return
		}
		// What is decoded and encoded once decodes to the same for ever.
		first, err := DecodeCommand(c.Encode())
		if err != nil {
			t.Fatal(err)
		}
		second, err := DecodeCommand(first.Encode())
		if err != nil || first != second {
			t.Fatalf("%+v\n%+v\n%v", first, second, err)
		}
	})
}
