package ul

import (
	"bytes"
	"io"
	"reflect"
	"testing"
	"time"

	"ichor/scp/scptest"
)

func FuzzAssociateRQ(f *testing.F) {
	f.Add(scptest.AssociateRQ[6:])
	f.Fuzz(func(t *testing.T, b []byte) {
		rq, err := decodeAssociateRQ(b)
		if err != nil {
			return
		}
		e, err := rq.Encode()
		if err != nil {
			return // lenient when reading, strict when writing
		}
		got, err := decodeAssociateRQ(e[6:])
		if err != nil || !reflect.DeepEqual(got, rq) {
			t.Fatalf("%+v\n%+v\n%v", got, rq, err)
		}
	})
}

func FuzzAssociateAC(f *testing.F) {
	f.Add(scptest.AssociateAC[6:])
	f.Fuzz(func(t *testing.T, b []byte) {
		ac, err := decodeAssociateAC(b)
		if err != nil {
			return
		}
		e, err := ac.Encode()
		if err != nil {
			return
		}
		got, err := decodeAssociateAC(e[6:])
		if err != nil || !reflect.DeepEqual(got, ac) {
			t.Fatalf("%+v\n%+v\n%v", got, ac, err)
		}
	})
}

// FuzzAssociation plays bytes to an association in each state. It must end, and all it sends must be
// whole PDUs of known types.
func FuzzAssociation(f *testing.F) {
	for _, b := range scptest.Seeds() {
		for _, s := range []State{Sta2, Sta5, Sta6, Sta7, Sta13} {
			f.Add(byte(s), b)
		}
	}
	f.Fuzz(func(t *testing.T, state byte, b []byte) {
		s := State(state%13 + 1)
		if s == Sta1 || s == Sta4 {
			return
		}
		a, c := in(s, b)
		c.silent = state >= 128
		a.wire.arm(time.Minute, false)
		switch s {
		case Sta2:
			if rq, err := a.Request(); err == nil {
				err = a.Accept(rq, Negotiate(rq, func(string) []string { return []string{"1.2.840.10008.1.2"} }), UserInformation{})
				if err == nil {
					drink(t, a)
				}
			}
		case Sta6:
			drink(t, a)
		default:
			for {
				if a.skip() != nil {
					break
				}
				if _, _, err := a.pdu(); err != nil || a.State() == Sta1 || a.State() == Sta13 {
					break
				}
			}
		}
		a.Close()
		if !c.closed {
			t.Fatal("not closed")
		}
		wholePDUs(t, c.out.Bytes())
	})
}

// drink reads all messages and answers each fragment that ends a command.
func drink(t *testing.T, a *Association) {
	for {
		v, err := a.Next()
		if err == ErrReleased {
			if err := a.ConfirmRelease(); err != nil {
				t.Fatalf("release not confirmed: %v", err)
			}
			return
		}
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, a)
		if err != nil {
			return
		}
		if n != int64(v.Length) {
			t.Fatalf("fragment of %d bytes gave %d", v.Length, n)
		}
		if v.Command && v.Last {
			if err := a.Send(v.ContextID, []byte{1, 2}, bytes.NewReader([]byte{3, 4})); err != nil {
				return
			}
			a.MessageEnd()
		}
	}
}

// FuzzItems decodes the value of a user information item: what it holds and is encoded once stays the same for ever.
func FuzzItems(f *testing.F) {
	for _, u := range []UserInformation{
		{},
		{MaxLength: 16384, ImplementationClass: "1.2.3", ImplementationVersion: "X", Async: &AsyncWindow{0, 3}},
		{Roles: []Role{{"1.2.3", true, false}}, Extended: []Extended{{"1.2.3", []byte{1, 2}}}},
		{CommonExtended: []CommonExtended{{"1.2.3", "1.2.4", []string{"1.2.5", "1.2.6"}}}},
		{Identity: &UserIdentity{Type: IdentityPasscode, Respond: true, Primary: []byte("user"), Secondary: []byte("pass")}},
		{Identity: &UserIdentity{Type: IdentitySAML, Primary: []byte("<Assertion/>")}, Confirmed: true},
	} {
		f.Add(u.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var u, again UserInformation
		if u.decode(b) != nil {
			return
		}
		if u.Identity != nil {
			_ = u.Identity.Name()
		}
		if err := again.decode(u.encode()); err != nil || !reflect.DeepEqual(u, again) {
			t.Fatalf("%+v\n%+v\n%v", u, again, err)
		}
	})
}

// FuzzRequestor plays bytes to a requestor: as the answer to its request, to a message, or to its release. It must end,
// and what it sends must be whole PDUs.
func FuzzRequestor(f *testing.F) {
	for _, b := range scptest.Seeds() {
		f.Add(byte(0), b)
		f.Add(byte(1), b)
		f.Add(byte(2), b)
	}
	f.Add(byte(0), append(bytes.Clone(scptest.AssociateAC), scptest.EchoRQ...))
	f.Add(byte(2), append(bytes.Clone(scptest.ReleaseRQ), scptest.ReleaseRP...))
	f.Fuzz(func(t *testing.T, phase byte, b []byte) {
		c := &script{in: bytes.NewReader(b), silent: phase >= 128}
		if phase%3 > 0 {
			c.in = bytes.NewReader(append(bytes.Clone(scptest.AssociateAC), b...))
		}
		a := &Association{o: Options{}.withDefaults(), requestor: true, framed: true, state: Sta1}
		a.step(EvtAssociateRequest, argument{})
		a.connected(c)
		rq, err := decodeAssociateRQ(scptest.AssociateRQ[6:])
		if err != nil {
			t.Fatal(err)
		}
		if ac, err := a.request(scptest.AssociateRQ); err == nil {
			a.establish(rq, ac.Contexts, ac.User.MaxLength)
			if phase%3 < 2 {
				if cs := a.Contexts(); len(cs) > 0 {
					_ = a.Send(cs[0].ID, []byte{1, 2}, bytes.NewReader([]byte{3, 4}))
				}
				for {
					if _, err := a.Next(); err != nil {
						break
					}
					if _, err := io.Copy(io.Discard, a); err != nil {
						break
					}
				}
			}
			_ = a.Release() // an end by abort is no wonder
		}
		a.Close()
		if !c.closed {
			t.Fatal("not closed")
		}
		wholePDUs(t, c.out.Bytes())
	})
}

// wholePDUs fails the test if out is anything but PDUs of known types.
func wholePDUs(t *testing.T, out []byte) {
	t.Helper()
	for len(out) > 0 {
		if len(out) < 6 {
			t.Fatalf("sent half a header: % X", out)
		}
		h := decodeHeader([6]byte(out))
		if h.Type < 1 || h.Type > 7 || h.check() != nil || int64(h.Length) > int64(len(out)-6) {
			t.Fatalf("sent % X", out)
		}
		out = out[6+h.Length:]
	}
}
