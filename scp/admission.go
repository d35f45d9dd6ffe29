package scp

import (
	"container/list"
	"sync"

	"ichor/scp/ul"
)

// maxWaiting bounds the connections without an association: those that have not requested one yet, and rejected ones that
// the peer has not closed yet. When the limit is exceeded, the oldest is dropped: real senders send their request within
// milliseconds, so the oldest is silent or very slow.
const maxWaiting = 512

// seats counts open connections and associations. Options.MaxAssociations limits all associations, and each peer has its
// own limit.
type seats struct {
	total, perPeer int

	mu      sync.Mutex
	taken   int
	of      map[string]int // peer -> number of its associations
	waiting list.List      // *session, oldest first
}

// enter adds a connection and returns the one that must be dropped for it, nil if there is room.
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

// take turns a waiting connection into an association of a peer. full says which limit is reached, empty if none.
func (s *seats) take(n *session, peer string, limit int) (full string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit <= 0 {
		limit = s.perPeer
	}
	switch {
	case n.place == nil:
		return "too many connections are waiting"
	case s.taken >= s.total:
		return "all associations of this node are in use"
	case s.of[peer] >= limit:
		return "all associations of this peer are in use"
	}
	s.waiting.Remove(n.place)
	n.place, n.seat = nil, peer
	s.taken++
	s.of[peer]++
	return ""
}

// leave removes a connection and its association.
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

// associations returns the number of open associations.
func (s *seats) associations() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// rejection is the rejection of an association: what is sent to the peer, and the reason for the log.
type rejection struct {
	*ul.RejectError
	why string
}

// admit returns the calling peer (nil if it is not listed but any peer may call), and the rejection (PS3.8 Table 9-21), nil
// if the request is accepted. An accepted request occupies a seat.
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
	seat, limit := s.remote.Addr().String(), s.o.MaxAssociations // unlisted callers are counted by address
	if peer != nil {
		if why := peer.identified(s.rq.User.Identity); why != "" {
			return nil, &rejection{&ul.RejectError{Result: ul.RejectedPermanent, Source: ul.RejectSourceACSE, Reason: ul.ReasonACSENone}, why}
		}
		seat, limit = peer.AETitle, peer.MaxAssociations
	}
	if full := s.seats.take(s, seat, limit); full != "" { // transient, so the peer retries
		return nil, &rejection{&ul.RejectError{Result: ul.RejectedTransient, Source: ul.RejectSourcePresentation, Reason: ul.ReasonLocalLimit}, full}
	}
	return peer, nil
}

// known finds the peer with the caller's title, address and certificate. A listed title that calls from another address or
// with another certificate is unknown, even if any title is accepted.
func (s *session) known() (peer *Peer, why string) {
	cert := s.assoc.PeerCertificate()
	listed := false
	admitted := s.admitted.Load()
	for i := range admitted.peers {
		p := &admitted.peers[i]
		if p.AETitle != s.rq.CallingAE {
			continue
		}
		listed = true
		switch {
		case !p.at(s.remote.Addr()):
			why = "this AE title is in dicom.peers, but the caller's address is not in its addresses"
		case len(p.Certificates) > 0 && cert == nil:
			why = "this AE title is in dicom.peers and requires a certificate, but the caller presented none"
		case len(p.Certificates) > 0 && !p.shows(cert):
			why = "this AE title is in dicom.peers, but the certificate presented is not one of its certificates"
		default:
			return p, ""
		}
	}
	switch {
	case listed:
		return nil, why
	case admitted.any:
		return nil, ""
	}
	return nil, "this AE title is not in dicom.peers"
}
