package ul

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"ichor/scp/scptest"
)

func TestAssociateRQ(t *testing.T) {
	rq, err := decodeAssociateRQ(scptest.AssociateRQ[6:])
	if err != nil {
		t.Fatal(err)
	}
	want := &AssociateRQ{
		ProtocolVersion: 1, CalledAE: "ICHOR", CallingAE: "SCANNER", ApplicationContext: ApplicationContextName,
		Contexts: []ProposedContext{
			{1, "1.2.840.10008.1.1", []string{"1.2.840.10008.1.2"}},
			{3, "1.2.840.10008.5.1.4.1.1.2", []string{"1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.70"}},
			{5, "1.2.840.10008.5.1.4.1.1.2", []string{"1.2.840.10008.1.2"}},
		},
		User: UserInformation{
			MaxLength: 16384, ImplementationClass: "1.2.826.0.1.3680043.2.1", ImplementationVersion: "TESTER_1",
			Async: &AsyncWindow{8, 8}, Identity: &UserIdentity{Type: IdentityUsername, Respond: true, Primary: []byte("user")},
			CommonExtended: []CommonExtended{{"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.4.2", []string{"1.2.840.10008.5.1.4.1.1.2"}}},
			Roles:          []Role{{"1.2.840.10008.5.1.4.1.1.2", true, true}},
			Extended:       []Extended{{"1.2.840.10008.5.1.4.1.1.2", []byte{2, 0}}},
		},
	}
	if !reflect.DeepEqual(rq, want) {
		t.Errorf("got %+v\nwant %+v", rq, want)
	}
	again(t, rq)
}

// again encodes and decodes: nothing may change.
func again(t *testing.T, rq *AssociateRQ) {
	t.Helper()
	b, err := rq.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeAssociateRQ(b[6:])
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, rq) {
		t.Errorf("got %+v\nwant %+v", got, rq)
	}
}

func TestAssociateAC(t *testing.T) {
	ac, err := decodeAssociateAC(scptest.AssociateAC[6:])
	if err != nil {
		t.Fatal(err)
	}
	want := []ContextResult{{1, 0, "1.2.840.10008.1.2"}, {3, 0, "1.2.840.10008.1.2.1"}, {5, 4, ""}}
	if !reflect.DeepEqual(ac.Contexts, want) || ac.User.MaxLength != 0 {
		t.Errorf("got %+v", ac)
	}
	b, err := ac.Encode()
	if err != nil || !bytes.Equal(b, scptest.AssociateAC) {
		t.Errorf("% X\nwant % X, %v", b, scptest.AssociateAC, err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	ok := ProposedContext{ID: 1, AbstractSyntax: "1.2", TransferSyntaxes: []string{"1.2.3"}}
	for name, rq := range map[string]*AssociateRQ{
		"long title":      {CalledAE: "SEVENTEEN_LETTERS"},
		"even context":    {Contexts: []ProposedContext{{ID: 2, AbstractSyntax: "1.2"}}},
		"context twice":   {Contexts: []ProposedContext{ok, ok}},
		"too many":        {Contexts: make([]ProposedContext, 129)},
		"no abstract":     {Contexts: []ProposedContext{{ID: 1}}},
		"long UID":        {Contexts: []ProposedContext{{ID: 1, AbstractSyntax: strings.Repeat("1", 65)}}},
		"no transfer UID": {Contexts: []ProposedContext{{ID: 1, AbstractSyntax: "1.2", TransferSyntaxes: []string{""}}}},
	} {
		if _, err := rq.Encode(); !errors.Is(err, ErrValue) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// 128 contexts are all that fit.
	full := &AssociateRQ{CalledAE: "SIXTEEN_LETTERS_", CallingAE: "B", ProtocolVersion: 1}
	for i := range MaxContexts {
		full.Contexts = append(full.Contexts, ProposedContext{ID: byte(2*i + 1), AbstractSyntax: "1.2", TransferSyntaxes: []string{"1.2.3"}})
	}
	again(t, full)
}

func TestDecodeRefuses(t *testing.T) {
	fixed := strings.Repeat("00", 68)
	for name, c := range map[string]struct {
		body string
		want error
	}{
		"short":                   {"0001", ErrTruncated},
		"item head":               {fixed + "10 00", ErrTruncated},
		"item length":             {fixed + "10 00 00FF 31", ErrTruncated},
		"even context":            {fixed + "20 00 {02 00 00 00}", ErrValue},
		"context twice":           {fixed + "20 00 {01 00 00 00} 20 00 {01 00 00 00}", ErrValue},
		"context too short":       {fixed + "20 00 {01}", ErrTruncated},
		"item in context":         {fixed + "20 00 {01 00 00 00 30 00 FFFF}", ErrTruncated},
		"max length of two bytes": {fixed + "50 00 {51 00 {0001}}", ErrValue},
		"role beyond its item":    {fixed + "50 00 {54 00 {FFFF 31}}", ErrValue},
		"role without roles":      {fixed + "50 00 {54 00 {{31}}}", ErrValue},
		"extended":                {fixed + "50 00 {56 00 {00}}", ErrValue},
		"common extended":         {fixed + "50 00 {57 00 {{31} {32} 0004 0009}}", ErrValue},
		"no service class":        {fixed + "50 00 {57 00 {{31}}}", ErrValue},
		"identity of nothing":     {fixed + "50 00 {58 00 {}}", ErrValue},
		"identity without field":  {fixed + "50 00 {58 00 {01 00}}", ErrValue},
		"username beyond item":    {fixed + "50 00 {58 00 {01 00 0009 41}}", ErrValue},
		"passcode beyond item":    {fixed + "50 00 {58 00 {02 00 {41} 0009 41}}", ErrValue},
		"async":                   {fixed + "50 00 {53 00 {00}}", ErrValue},
	} {
		if _, err := decodeAssociateRQ(scptest.Bytes(c.body)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// TestHostileLengths: a header alone must cost neither memory nor time.
func TestHostileLengths(t *testing.T) {
	for name, b := range map[string]string{
		"associate":       "01 00 FFFFFFFF",
		"large associate": "01 00 00040001",
		"short associate": "01 00 00000043",
		"abort":           "07 00 00000005 0000000000",
		"abort, short":    "07 00 00000003 000000",
		"unknown type":    "00 00 7FFFFFFF",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		a, c := in(Sta2, scptest.Bytes(b))
		a.wire.arm(1, false)
		a.wire.left = 1 << 40
		act, _, err := a.pdu()
		runtime.ReadMemStats(&after)
		if act != AA1 || err == nil || c.out.Len() != 10 {
			t.Errorf("%s: %s, %v", name, act, err)
		}
		if grew := after.TotalAlloc - before.TotalAlloc; grew > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, grew)
		}
	}
	// A data PDU of 4 GiB is no offence: it is streamed. Its items must fit, though.
	for name, b := range map[string]string{
		"item longer than PDU": "04 00 00000008 000000FF 01 00 0000",
		"item too short":       "04 00 00000008 00000001 01 00 0000",
		"no room for an item":  "04 00 00000003 000000",
		"even context":         "04 00 [ [ 02 03 0000 ] ]",
		"context not accepted": "04 00 [ [ 0B 03 0000 ] ]",
	} {
		a, c := in(Sta6, scptest.Bytes(b))
		_, err := a.Next()
		var aborted *AbortError
		if !errors.As(err, &aborted) || aborted.Reason != AbortInvalidParameter || c.out.Len() != 10 || a.State() != Sta13 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNegotiate(t *testing.T) {
	rq, err := decodeAssociateRQ(scptest.AssociateRQ[6:])
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string][]string{"1.2.840.10008.5.1.4.1.1.2": {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"}}
	got := Negotiate(rq, func(uid string) []string { return ours[uid] })
	want := []ContextResult{
		{1, ContextAbstractUnsupported, "1.2.840.10008.1.2"},
		{3, ContextAccepted, "1.2.840.10008.1.2.1"}, // our order, not theirs
		{5, ContextAccepted, "1.2.840.10008.1.2"},   // same class, by itself
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	got = Negotiate(rq, func(string) []string { return []string{"1.2.840.10008.1.2.5"} })
	if got[1].Result != ContextTransferUnsupported {
		t.Errorf("got %+v", got)
	}
	rq.User.Roles = append(rq.User.Roles, Role{SOPClass: "1.2.3", SCP: true}, rq.User.Roles[0])
	roles := AnswerRoles(rq, func(string) bool { return false })
	if len(roles) != 1 || !roles[0].SCU || roles[0].SCP {
		t.Errorf("roles %+v", roles)
	}
}

func TestFragmentSize(t *testing.T) {
	for peer, want := range map[uint32]int{
		0: sendCap - 6, 1: 2, 5: 2, 7: 2, 8: 2, 9: 2, 10: 4, 11: 4, 16384: 16378, 16385: 16378, 0xFFFFFFFF: sendCap - 6,
	} {
		if got := fragmentSize(peer); got != want {
			t.Errorf("peer takes %d: fragments of %d, want %d", peer, got, want)
		}
	}
}

// TestSend looks at the bytes: fragments, their control headers, and that a short message is one write.
func TestSend(t *testing.T) {
	a, c := in(Sta6, nil)
	if err := a.Send(1, []byte{1, 2, 3, 4}, nil); err != nil || c.writes != 1 {
		t.Fatalf("%v, %d writes", err, c.writes)
	}
	if want := scptest.Data(1, 3, []byte{1, 2, 3, 4}); !bytes.Equal(c.out.Bytes(), want) {
		t.Errorf("% X", c.out.Bytes())
	}
	c.out.Reset()
	c.writes = 0
	a.sendMax = 2
	if err := a.Send(3, []byte{1, 2, 3, 4}, bytes.NewReader([]byte{5, 6, 7, 8, 9, 10})); err != nil || c.writes != 1 {
		t.Fatalf("%v, %d writes", err, c.writes)
	}
	want := bytes.Join([][]byte{
		scptest.Data(3, 1, []byte{1, 2}), scptest.Data(3, 3, []byte{3, 4}),
		scptest.Data(3, 0, []byte{5, 6}), scptest.Data(3, 0, []byte{7, 8}), scptest.Data(3, 2, []byte{9, 10}),
	}, nil)
	if !bytes.Equal(c.out.Bytes(), want) {
		t.Errorf("% X\nwant % X", c.out.Bytes(), want)
	}
	c.out.Reset()
	if err := a.Send(3, []byte{1, 2}, bytes.NewReader(nil)); err != nil {
		t.Fatal(err)
	}
	if want := append(scptest.Data(3, 3, []byte{1, 2}), scptest.Data(3, 2, nil)...); !bytes.Equal(c.out.Bytes(), want) {
		t.Errorf("empty data set: % X", c.out.Bytes())
	}
	if err := a.Send(9, nil, nil); !errors.Is(err, ErrNoContext) {
		t.Errorf("unknown context: %v", err)
	}
}

func TestErrorWords(t *testing.T) {
	for want, err := range map[string]error{
		"calling AE title not recognized":                 &RejectError{1, 1, 3},
		"called AE title not recognized":                  &RejectError{1, 1, 7},
		"for now: limit of associations":                  &RejectError{2, 3, 2},
		"by peer (service user)":                          &AbortError{},
		"by this side (service provider, unexpected PDU)": &AbortError{Source: 2, Reason: 2, Local: true},
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}
