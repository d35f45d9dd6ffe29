package node

import (
	"ichor/pipeline/state"
	"ichor/reporting/deliver"
	"ichor/scp"
	"ichor/scp/commitment"
)

// commitments joins Storage Commitment to the state: what peers ask of us, and what destinations answer us.
type commitments struct {
	*scp.Callback
	store     *state.Store
	deliverer *deliver.Deliverer
}

func (c commitments) Asked(peer string, r commitment.Request) error {
	p := state.Promise{Peer: peer, TransactionUID: r.TransactionUID}
	for _, ref := range r.References {
		p.Objects = append(p.Objects, [2]string{ref.SOPClassUID, ref.SOPInstanceUID})
	}
	return c.store.AddPromise(p, now())
}

func (c commitments) Answered(peer, transactionUID string) error {
	return c.store.RemovePromise(peer, transactionUID)
}

func (c commitments) Result(r commitment.Result) (known bool, err error) {
	known, err = c.deliverer.Result(r)
	c.deliverer.Wake()
	return known, err
}

func (n *Node) newCallback() *scp.Callback {
	return scp.NewCallback(scp.CallbackOptions{
		Spool: n.spool, Promises: n.promises, Answered: n.store.RemovePromise, Address: n.peerAddress,
		Retry: n.config.Delivery.FirstRetry, MaxAge: n.config.Delivery.MaxAge, Logger: n.log,
	})
}

// promises are the requests in the state, as scp has them.
func (n *Node) promises() ([]scp.Promise, error) {
	all, err := n.store.Promises()
	if err != nil {
		return nil, err
	}
	list := make([]scp.Promise, 0, len(all))
	for _, p := range all {
		r := commitment.Request{TransactionUID: p.TransactionUID}
		for _, o := range p.Objects {
			r.References = append(r.References, commitment.Reference{SOPClassUID: o[0], SOPInstanceUID: o[1]})
		}
		list = append(list, scp.Promise{Peer: p.Peer, Request: r, Asked: p.At})
	}
	return list, nil
}
