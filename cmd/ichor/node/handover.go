package node

import (
	"time"

	"ichor/pipeline/queue"
	"ichor/pipeline/state"
)

// share says how much of a study two nodes have.
type share int

const (
	unknownThere share = iota // the other node has nothing of it
	same
	moreHere
	lessHere // the other node has instances that this one does not have
)

// share compares what this node received of a study with what the others received. p.mu is held.
func (p *paired) share(id state.CaseID) share {
	s := unknownThere
	mine := p.received[id][p.self]
	for node, theirs := range p.received[id] {
		switch {
		case node == p.self || len(theirs.list) == 0:
		case lacks(mine.list, theirs.list):
			return lessHere
		case lacks(theirs.list, mine.list):
			s = max(s, moreHere)
		case s == unknownThere:
			s = same
		}
	}
	return s
}

// lacks reports whether an ordered list lacks an element of another.
func lacks(list, of []uint64) bool {
	i := 0
	for _, x := range of {
		for i < len(list) && list[i] < x {
			i++
		}
		if i == len(list) || list[i] != x {
			return true
		}
	}
	return false
}

// maySend reports whether this node may send an object now.
func (n *Node) maySend(d state.Delivery) bool {
	if n.pair == nil || d.Destination == n.canary.destination() {
		return true
	}
	n.checkReceived(d.Case)
	if n.pair.isPartial(d.Case) { // the rest may have come
		c, err := n.store.Case(d.Case)
		if err != nil || c.Phase == state.Receiving || c.Phase == state.Queued || n.objects(c.StudyInstanceUID) > c.Objects {
			return false // this is the result of the part
		}
	}
	return n.pair.may(d, n.pair.Standing(), time.Now())
}

func (p *paired) isPartial(id state.CaseID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.partial[id].IsZero()
}

// checkReceived compares once what this node has told of a study with its spool: what it told before its start can lack the
// last objects.
func (n *Node) checkReceived(id state.CaseID) {
	n.pair.mu.Lock()
	checked := n.pair.received[id][n.pair.self].checked
	n.pair.mu.Unlock()
	if checked {
		return
	}
	if c, err := n.store.Case(id); err == nil {
		n.tellStudy(c.StudyInstanceUID)
	}
}

func (p *paired) may(d state.Delivery, s queue.Standing, at time.Time) bool {
	if !s.Caught && !s.Alone {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, sent := p.sent[d.Case][d.DeliveryKey]; sent && d.State == state.Pending && d.Tries == 0 && d.Resent == 0 {
		p.unsettled[d.Case] = true
		p.wake()
		return false
	}
	share := p.share(d.Case)
	if share != lessHere {
		delete(p.partial, d.Case)
	}
	switch {
	case share == lessHere:
		if p.partial[d.Case].IsZero() {
			p.partial[d.Case] = at
		}
		return false
	case s.Held || s.Alone || share == unknownThere || share == moreHere:
		delete(p.waiting, d.Case)
		return true
	}
	if p.waiting[d.Case].IsZero() {
		p.waiting[d.Case] = at
	}
	return at.Sub(p.waiting[d.Case]) > p.wait
}

// settleCase records what other nodes have sent of a case. If one of them sent a result of more instances, the result of this
// node is not sent any more. Until all of the other result is sent, the case is one of which this node has only a part.
func (n *Node) settleCase(id state.CaseID) error {
	p := n.pair
	n.checkReceived(id)
	p.mu.Lock()
	var notes []sentNote
	for _, s := range p.sent[id] {
		notes = append(notes, s)
	}
	less := p.share(id) == lessHere
	p.mu.Unlock()
	if len(notes) == 0 {
		return nil
	}
	foreign, all := false, false // a result that this node does not have, and the whole of it
	for _, s := range notes {
		known, err := n.store.StoredElsewhere(state.DeliveryKey{SOPInstanceUID: s.Instance, Destination: s.Destination}, s.Committed, "sent by the other node of the pair", now())
		if err != nil {
			return err
		}
		foreign, all = foreign || !known, all || !known && s.Left == 0
	}
	if less && foreign {
		withdrawn, err := n.store.Withdraw(id, "the other node of the pair has received more of the study and sent its result", now())
		if err != nil {
			return err
		}
		if withdrawn > 0 {
			n.log.Info("result withdrawn, the other node of the pair has received more of the study", "case", id, "objects", withdrawn)
		}
		p.mu.Lock()
		if all {
			delete(p.partial, id)
		} else if p.partial[id].IsZero() {
			p.partial[id] = now()
		}
		p.mu.Unlock()
	}
	n.deliverer.Wake()
	return nil
}
