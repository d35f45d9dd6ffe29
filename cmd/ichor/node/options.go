package node

import (
	"log/slog"
	"path/filepath"

	"ichor/config"
	"ichor/pipeline/queue"
	"ichor/pipeline/retention"
	"ichor/pipeline/state"
	"ichor/reporting/deliver"
	"ichor/scp"
	"ichor/scp/spool"
)

// queueOptions are those that nodes and workers share.
func queueOptions(c config.Config, log *slog.Logger) queue.Options {
	q := c.Queue
	return queue.Options{URL: q.URL, Replicas: q.Replicas, CA: q.CA, Certificate: q.Certificate, Key: q.Key, Credentials: q.Credentials, AckWait: q.AckWait, Logger: log}
}

// minFree is the free space that state and queue need to start. Below it the spool deletes its preallocated files.
const minFree = 64 << 20

func spoolOptions(c config.Config, log *slog.Logger) spool.Options {
	reserve := int64(c.DICOM.ReserveMiB) << 20
	if reserve == 0 {
		reserve = -1 // no reserve; 0 would mean the spool's default
	}
	prepared := int64(c.DICOM.PreparedMiB) << 20
	if prepared == 0 {
		prepared = -1
	}
	return spool.Options{
		Dir: filepath.Join(c.State, "spool"), MaxObjectBytes: int64(c.DICOM.MaxObjectMiB) << 20, ReserveBytes: reserve, SpareBytes: prepared,
		Logger: log,
	}
}

func (n *Node) retentionOptions() retention.Options {
	c := n.config
	return retention.Options{
		State: n.store, Spool: n.spool, Results: resultsDir(c), Keep: c.Retention, KeepFailed: c.RetentionFailed, KeepCases: c.RetentionCases,
		MaxBytes: int64(c.RetentionGiB) << 30, ReserveBytes: uint64(c.DICOM.ReserveMiB) << 20, Destinations: append(destinationNames(c), n.canary.destination()), Logger: n.log, Now: now, Removed: n.recordRemoval,
	}
}

// newServer makes the server for our ports. commitments may be nil.
func (n *Node) newServer(objects *spool.Spool, to scp.Sink, commitments scp.Commitments) (*scp.Server, error) {
	c := n.config.DICOM
	peers, any, err := n.peersOf(c)
	if err != nil {
		return nil, err
	}
	return scp.New(scp.Options{
		AETitle: c.AETitle, CheckCalledAE: c.CheckCalledAE, Peers: peers, AnyPeer: any,
		MaxAssociations: c.MaxAssociations, MaxPerPeer: c.MaxPerPeer, TransferSyntaxes: n.engine.Decoder.TransferSyntaxes(), PrivateClasses: c.PrivateClasses,
		ARTIM: c.RequestTimeout, Idle: c.IdleTimeout, Read: c.ReadTimeout,
		Spool: objects, Sink: to, Commitments: commitments, Logger: n.log,
		Name: func(study string) string { return string(state.IDOf(study)) },
		Events: func(e scp.Event) {
			n.observer.received(e)
			n.turned.received(e)
			n.callers.received(e)
			if e.Kind == scp.Rejected || e.Kind == scp.Unsupported {
				n.happened()
			}
			n.recordCall(e)
		},
	})
}

func (n *Node) newDeliverer() *deliver.Deliverer {
	var destinations []deliver.Destination
	for _, d := range n.config.Destinations {
		destinations = append(destinations, deliver.Destination{
			Name: d.Name, Address: d.Address, CalledAE: d.AETitle, CallingAE: n.config.DICOM.AETitle, URL: d.URL,
			Associations: d.Associations, Commitment: d.Commitment, Deflate: d.Deflate,
		})
	}
	destinations = append(destinations, deliver.Destination{Name: n.canary.destination(), CalledAE: config.CanaryTitle, CallingAE: n.config.DICOM.AETitle})
	c := n.config.Delivery
	return deliver.New(deliver.Options{
		Destinations: destinations, State: n.store, FirstRetry: c.FirstRetry, MaxRetry: c.MaxRetry, MaxAge: c.MaxAge, Logger: n.log,
		Dial: n.dial, May: n.maySend, Events: func(e deliver.Event) {
			n.observer.attempted(e)
			n.sent(e)
			n.pairSent(e)
			n.recordLetter(e)
			n.happened()
		}, Delivered: n.recordDelivery,
	})
}
