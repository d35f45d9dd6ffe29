package node

import (
	"slices"

	"ichor/config"
	"ichor/pipeline/state"
	"ichor/reporting/deliver"
	"ichor/scp"
	"ichor/scp/commitment"
	"ichor/scp/dimse"
)

// commitments joins Storage Commitment to the state: what peers ask of us, and what destinations answer us.
type commitments struct {
	*scp.Reporter
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

func (n *Node) newReporter() *scp.Reporter {
	return scp.NewReporter(scp.ReporterOptions{
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

// peerAddress says how to call a peer; false where the configuration has no address.
func (n *Node) peerAddress(title string) (dimse.ConnectOptions, bool) {
	i := slices.IndexFunc(n.config.DICOM.Peers, func(p config.Peer) bool { return p.AETitle == title && p.Address != "" })
	if i < 0 {
		return dimse.ConnectOptions{}, false
	}
	p := n.config.DICOM.Peers[i]
	o := dimse.ConnectOptions{Address: p.Address, CallingAE: n.config.DICOM.AETitle, CalledAE: p.AETitle}
	if p.TLS {
		o.TLS = n.credentials.Client("")
	}
	return o, true
}
