package ul

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"ichor/scp/scptest"
)

// node accepts one association and hands it to f; the result of f comes over the channel. The test
// fails if the goroutine does not end.
func node(t *testing.T, o Options, f func(*Association) error) (address string, result chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	result = make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			result <- err
			return
		}
		if o.TLS != nil {
			conn = tls.Server(conn, o.TLS)
		}
		a := NewAcceptor(conn, o)
		defer a.Close()
		rq, err := a.Request()
		if err == nil {
			err = a.Accept(rq, Negotiate(rq, func(string) []string { return []string{"1.2.840.10008.1.2"} }), UserInformation{})
		}
		if err == nil && f != nil {
			err = f(a)
		}
		result <- err
	}()
	return ln.Addr().String(), result
}

func await(t *testing.T, result chan error) error {
	t.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("association does not end")
		return nil
	}
}

// gather reads fragments until release, and confirms it.
func gather(into *bytes.Buffer) func(*Association) error {
	return func(a *Association) error {
		for {
			v, err := a.Next()
			if errors.Is(err, ErrReleased) {
				return a.ConfirmRelease()
			}
			if err != nil {
				return err
			}
			if _, err := io.Copy(into, a); err != nil {
				return err
			}
			if v.Last && !v.Command {
				a.MessageEnd()
			}
		}
	}
}

func proposal() *AssociateRQ {
	return &AssociateRQ{CalledAE: "B", CallingAE: "A", Contexts: []ProposedContext{{1, "1.2.3", []string{"1.2.840.10008.1.2"}}}}
}

func TestRoundTrip(t *testing.T) {
	for _, peerMax := range []uint32{7, 8, 11, 4097, 16384, 1 << 20} {
		var got bytes.Buffer
		address, result := node(t, Options{MaxPDU: peerMax}, gather(&got))
		a, ac, err := Dial(t.Context(), address, proposal(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if ac.User.MaxLength != peerMax {
			t.Errorf("peer announced %d", ac.User.MaxLength)
		}
		data := bytes.Repeat([]byte("0123456789"), 5000)
		if err := a.Send(1, []byte("cmd."), bytes.NewReader(data)); err != nil {
			t.Error(err)
		}
		if err := a.Release(); err != nil {
			t.Error(err)
		}
		a.Close()
		if err := await(t, result); err != nil || got.String() != "cmd."+string(data) {
			t.Errorf("%d: %d bytes, %v", peerMax, got.Len(), err)
		}
	}
}

// TestReleaseCollision: both sides ask at once (PS3.8 §7.2.2.7 and Table 9-10).
func TestReleaseCollision(t *testing.T) {
	for i := range 20 {
		start := make(chan struct{})
		address, result := node(t, Options{ARTIM: 5 * time.Second}, func(a *Association) error {
			<-start
			return a.Release()
		})
		a, _, err := Dial(t.Context(), address, proposal(), Options{ARTIM: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		// Ours goes out before theirs is read, so it is a collision whichever comes first.
		if _, err := a.step(EvtReleaseRequest, argument{}); err != nil {
			t.Fatal(err)
		}
		close(start)
		a.wire.arm(5*time.Second, false)
		for a.State() != Sta1 {
			act, _, err := a.pdu()
			if err != nil {
				t.Fatalf("%d: %s, %v", i, act, err)
			}
			if act == AR8 {
				if a.State() != Sta9 {
					t.Fatalf("requestor in %s", a.State())
				}
				if _, err := a.step(EvtReleaseResponse, argument{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		a.Close()
		// The node asks before it reads, so it is a collision there as well.
		if err := await(t, result); err != nil {
			t.Errorf("%d: acceptor %v", i, err)
		}
	}
}

func TestAcceptorRefusesVersion(t *testing.T) {
	address, result := node(t, Options{}, nil)
	p := scptest.Dial(t, address)
	rq := bytes.Clone(scptest.AssociateRQ)
	rq[7] = 2 // protocol version bit 0 not set
	p.Send(rq)
	if b := p.Expect(3); !bytes.Equal(b[6:], []byte{0, 1, 2, 2}) {
		t.Errorf("% X", b)
	}
	p.Conn.Close()
	var r *RejectError
	if err := await(t, result); !errors.As(err, &r) {
		t.Errorf("got %v", err)
	}
}

// TestSlowPeers: silence and dripping end within the time given, never later.
func TestSlowPeers(t *testing.T) {
	short := Options{ARTIM: 60 * time.Millisecond, Idle: 60 * time.Millisecond, Read: 60 * time.Millisecond, Linger: 20 * time.Millisecond}
	drip := func(p *scptest.Peer, b []byte) {
		for i := range b {
			if _, err := p.Conn.Write(b[i : i+1]); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	for name, play := range map[string]func(p *scptest.Peer){
		"nothing":              func(p *scptest.Peer) {},
		"half a request":       func(p *scptest.Peer) { p.Send(scptest.AssociateRQ[:50]) },
		"dripping request":     func(p *scptest.Peer) { drip(p, scptest.AssociateRQ[:100]) },
		"idle":                 func(p *scptest.Peer) { p.Associate() },
		"half a header":        func(p *scptest.Peer) { p.Associate(); p.Send(scptest.EchoRQ[:3]) },
		"dripping fragments":   func(p *scptest.Peer) { p.Associate(); drip(p, bytes.Repeat(scptest.Data(1, 0, []byte{1}), 20)) },
		"message without end":  func(p *scptest.Peer) { p.Associate(); p.Send(scptest.Data(1, 0, []byte{1, 2})) },
		"empty data PDUs only": func(p *scptest.Peer) { p.Associate(); drip(p, bytes.Repeat([]byte{4, 0, 0, 0, 0, 0}, 20)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got bytes.Buffer
			address, result := node(t, short, gather(&got))
			p := scptest.Dial(t, address)
			begin := time.Now()
			play(p)
			if err := await(t, result); !errors.Is(err, ErrTimeout) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestPeerNotReading: a peer that takes nothing ends our write.
func TestPeerNotReading(t *testing.T) {
	address, result := node(t, Options{Write: 100 * time.Millisecond, Linger: 20 * time.Millisecond}, func(a *Association) error {
		for {
			if err := a.Send(1, []byte{0, 0}, bytes.NewReader(make([]byte, 1<<20))); err != nil {
				return err
			}
		}
	})
	p := scptest.Dial(t, address)
	p.Send(scptest.AssociateRQ)
	if err := await(t, result); !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v", err)
	}
}

func TestAbortFromElsewhere(t *testing.T) {
	opened := make(chan *Association, 1)
	cause := errors.New("shutting down")
	address, result := node(t, Options{}, func(a *Association) error {
		opened <- a
		_, err := a.Next()
		return err
	})
	p := scptest.Dial(t, address)
	p.Associate()
	(<-opened).Abort(cause)
	if b := p.Expect(7); !bytes.Equal(b, scptest.Abort) {
		t.Errorf("% X", b)
	}
	p.Conn.Close()
	if err := await(t, result); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

func TestDialEnds(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // accepts in the backlog and says nothing
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := Dial(ctx, ln.Addr().String(), proposal(), Options{Linger: time.Millisecond}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	if _, _, err := Dial(t.Context(), ln.Addr().String(), proposal(), Options{ARTIM: 50 * time.Millisecond, Linger: time.Millisecond}); !errors.Is(err, ErrTimeout) {
		t.Errorf("silent: %v", err)
	}
	ln.Close()
	var op *net.OpError
	if _, _, err := Dial(t.Context(), ln.Addr().String(), proposal(), Options{}); !errors.As(err, &op) {
		t.Errorf("nobody there: %v", err)
	}
}

// TestUnaskedContexts: what the peer accepts beyond the proposal is not accepted.
func TestUnaskedContexts(t *testing.T) {
	a, _ := in(Sta5, nil)
	a.contexts = [256]Context{}
	a.establish(proposal(), []ContextResult{{1, 0, "1.2.3.4"}, {3, 0, "1.2.840.10008.1.2"}, {1, 3, "1.2.840.10008.1.2"}}, 0)
	if cs := a.Contexts(); len(cs) != 0 {
		t.Errorf("accepted %+v", cs)
	}
}
