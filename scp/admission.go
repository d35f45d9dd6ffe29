package scp

import (
	"container/list"
	"sync"

	"ichor/scp/ul"
)

// maxWaiting bounds the connections without an association: those that have not asked for one yet, and rejected ones that
// the peer has not closed yet. One more makes the oldest go, a silent or slow one: a sender asks within milliseconds.
const maxWaiting = 512

// seats counts what is open. All associations share Options.MaxAssociations, those of one peer its own limit.
type seats struct {
	total, perPeer int

	mu      sync.Mutex
	taken   int
	of      map[string]int // peer to its associations
	waiting list.List      // of *session, the oldest first
}

// enter notes a connection and returns the one that has to go for it, nil if there is room.
func (s *seats) enter(n *session) (oldest *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting.Len() >= maxWaiting {
		front := s.waiting.Front()
		oldest = front.Value.(*session)
		s.waiting.Remove(front)
		oldest.place = nil
	}
	n.place = s.waiting.PushBack(n)
	return oldest
}

// take makes a waiting connection an association of a peer. The text says which limit is in the way, empty if none.
func (s *seats) take(n *session, peer string, limit int) (full string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit <= 0 {
		limit = s.perPeer
	}
	switch {
	case n.place == nil:
		return "too many connections wait"
	case s.taken >= s.total:
		return "all associations of this node are taken"
	case s.of[peer] >= limit:
		return "all associations of this peer are taken"
	}
	s.waiting.Remove(n.place)
	n.place, n.seat = nil, peer
	s.taken++
	s.of[peer]++
	return ""
}

// leave frees what the connection held.
func (s *seats) leave(n *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.place != nil {
		s.waiting.Remove(n.place)
		n.place = nil
	}
	if n.seat == "" {
		return
	}
	s.taken--
	if s.of[n.seat]--; s.of[n.seat] == 0 {
		delete(s.of, n.seat)
	}
	n.seat = ""
}

// associations is how many are accepted at this moment.
func (s *seats) associations() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// rejection of an association: what goes over the wire and why, for the log.
type rejection struct {
	*ul.RejectError
	why string
}

// admit returns the peer that calls, nil where every one may, and why the request is rejected (PS3.8 Table 9-21), nil
// if it is not. A seat is taken then.
func (s *session) admit() (*Peer, *rejection) {
	user := func(reason byte, why string) *rejection {
		return &rejection{&ul.RejectError{Result: ul.RejectedPermanent, Source: ul.RejectSourceUser, Reason: reason}, why}
	}
	switch {
	case s.rq.ApplicationContext != ul.ApplicationContextName:
		return nil, user(ul.ReasonApplicationContext, "")
	case s.o.CheckCalledAE && s.rq.CalledAE != s.o.AETitle:
		return nil, user(ul.ReasonCalledAE, "")
	}
	peer, why := s.known()
	if why != "" {
		return nil, user(ul.ReasonCallingAE, why)
	}
	seat, limit := s.remote.Addr().String(), s.o.MaxAssociations // where every title is taken there are no peers to be fair to
	if peer != nil {
		if why := peer.identified(s.rq.User.Identity); why != "" {
			return nil, &rejection{&ul.RejectError{Result: ul.RejectedPermanent, Source: ul.RejectSourceACSE, Reason: ul.ReasonACSENone}, why}
		}
		seat, limit = peer.AETitle, peer.MaxAssociations
	}
	if full := s.seats.take(s, seat, limit); full != "" { // comes again, so transient
		return nil, &rejection{&ul.RejectError{Result: ul.RejectedTransient, Source: ul.RejectSourcePresentation, Reason: ul.ReasonLocalLimit}, full}
	}
	return peer, nil
}

// known finds the peer with the title, address and certificate of the caller. A configured title from elsewhere is not
// known even where every title is taken.
func (s *session) known() (peer *Peer, why string) {
	cert := s.assoc.PeerCertificate()
	listed := false
	for i := range s.o.Peers {
		p := &s.o.Peers[i]
		if p.AETitle != s.rq.CallingAE {
			continue
		}
		listed = true
		switch {
		case !p.at(s.remote.Addr()):
			why = "the title is among the peers, this address is not one of its addresses"
		case len(p.Certificates) > 0 && cert == nil:
			why = "the title is among the peers, its entry asks for a certificate and it shows none"
		case len(p.Certificates) > 0 && !p.shows(cert):
			why = "the title is among the peers, the certificate it shows is not one of its certificates"
		default:
			return p, ""
		}
	}
	switch {
	case listed:
		return nil, why
	case s.o.AnyPeer:
		return nil, ""
	}
	return nil, "the title is not among the peers"
}
