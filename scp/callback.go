package scp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"ichor/scp/commitment"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/spool"
	"ichor/scp/ul"
)

// Promises stores the requests of peers, encoded as action information, until their results are reported. *state.Store
// implements it.
type Promises interface {
	// AddPromise returns when the request is durable. A repeated transaction replaces it.
	AddPromise(peer, transactionUID string, request []byte) error
	RemovePromise(peer, transactionUID string) error
	// Promises calls each with every request and the time that the node has run since.
	Promises(each func(peer, transactionUID string, request []byte, age time.Duration)) error
}

// promiseSyntax encodes requests in Promises.
const promiseSyntax = dcm.ExplicitVRLittleEndian

// CallbackOptions configure a Callback. All fields except the times are required; zero times take the defaults.
type CallbackOptions struct {
	Spool    *spool.Spool
	Promises Promises
	// Address returns how to connect to a peer, false if it accepts results only on its own associations. Run calls it.
	Address func(peer string) (dimse.ConnectOptions, bool)
	// Result records a destination's answer about objects that we sent to it; known: we had requested it.
	Result func(commitment.Result) (known bool, err error)
	Logger *slog.Logger

	Retry  time.Duration // between attempts; 30 s
	MaxAge time.Duration // a result is dropped if it could not be reported while the node ran for this long; 7 days
}

// Callback implements Commitments for the node: it stores the requests of peers, and reports the results on associations that
// it opens, as SCP by role selection (PS3.4 §J.3.3, PS3.7 §D.3.3.4).
type Callback struct {
	o    CallbackOptions
	wake chan struct{}
}

// NewCallback returns a Callback; it works while Run runs.
func NewCallback(o CallbackOptions) *Callback {
	if o.Retry <= 0 {
		o.Retry = 30 * time.Second
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 7 * 24 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Callback{o: o, wake: make(chan struct{}, 1)}
}

// Asked implements Commitments.
func (c *Callback) Asked(peer string, r commitment.Request) error {
	data, err := r.Encode(promiseSyntax)
	if err != nil {
		return err
	}
	return c.o.Promises.AddPromise(peer, r.TransactionUID, data)
}

// Answered implements Commitments.
func (c *Callback) Answered(peer, transactionUID string) error {
	return c.o.Promises.RemovePromise(peer, transactionUID)
}

// Result implements Commitments.
func (c *Callback) Result(r commitment.Result) (known bool, err error) { return c.o.Result(r) }

// Wake signals that there is something to report.
func (c *Callback) Wake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run reports results until ctx is done. The next Run reports the rest. Each peer has its own goroutine, so that one peer
// that does not answer does not delay the others.
func (c *Callback) Run(ctx context.Context) error {
	var peers sync.WaitGroup
	defer peers.Wait()
	busy := map[string]bool{} // peers with a report in progress; true: report again afterwards
	ended := make(chan string)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case peer := <-ended:
			again := busy[peer]
			if delete(busy, peer); !again {
				continue
			}
		case <-c.wake:
			for peer := range busy {
				busy[peer] = true
			}
		case <-timer.C:
		}
		for peer, list := range c.due(busy) {
			o, ok := c.o.Address(peer)
			if !ok || ctx.Err() != nil {
				continue
			}
			busy[peer] = false
			peers.Go(func() {
				if err := c.tell(ctx, o, list); err != nil && ctx.Err() == nil {
					c.o.Logger.Warn("storage commitment not reported, will be retried", "peer", peer, "err", err)
				}
				select {
				case ended <- peer:
				case <-ctx.Done():
				}
			})
		}
		timer.Reset(c.o.Retry)
	}
}

// due lists the results to report to each peer that is not busy, and drops those that are too old.
func (c *Callback) due(busy map[string]bool) map[string][]commitment.Promise {
	of := map[string][]commitment.Promise{}
	var drop []commitment.Promise
	err := c.o.Promises.Promises(func(peer, transactionUID string, request []byte, age time.Duration) {
		p := commitment.Promise{Peer: peer, Request: commitment.Request{TransactionUID: transactionUID}}
		if _, is := busy[peer]; is {
			return
		}
		r, err := commitment.DecodeRequest(request, promiseSyntax)
		switch {
		case err != nil:
			c.o.Logger.Error("storage commitment not reported, the stored request cannot be read", "peer", peer, "err", err)
			drop = append(drop, p)
		case age > c.o.MaxAge:
			c.o.Logger.Error("storage commitment result dropped, the peer could not be reached in time; set its address in dicom.peers", "peer", peer)
			drop = append(drop, p)
		default:
			p.Request = r
			of[peer] = append(of[peer], p)
		}
	})
	if err != nil {
		c.o.Logger.Error("cannot read storage commitment requests", "err", err)
		return nil
	}
	for _, p := range drop {
		c.answered(p)
	}
	return of
}

func (c *Callback) answered(p commitment.Promise) {
	if err := c.Answered(p.Peer, p.TransactionUID); err != nil {
		c.o.Logger.Error("storage commitment reported, but this cannot be recorded", "peer", p.Peer, "err", err)
	}
}

// tell reports results to one peer.
func (c *Callback) tell(ctx context.Context, o dimse.ConnectOptions, list []commitment.Promise) error {
	o.Contexts = []ul.ProposedContext{{AbstractSyntax: dcm.StorageCommitmentPushModel, TransferSyntaxes: transferSyntaxes[:2]}}
	o.Roles = []ul.Role{{SOPClass: dcm.StorageCommitmentPushModel, SCP: true}}
	scu, err := dimse.Connect(ctx, o)
	if err != nil {
		return err
	}
	accepted := scu.Accepted(dcm.StorageCommitmentPushModel)
	if len(accepted) == 0 {
		scu.Abort()
		return fmt.Errorf("storage commitment: %w, set the peer up to take results from us", ul.ErrNoContext)
	}
	for _, p := range list {
		result := check(c.o.Spool, p.Request)
		data, err := result.Encode(accepted[0])
		if err == nil {
			_, err = scu.Report(ctx, dimse.Notice{
				SOPClassUID: dcm.StorageCommitmentPushModel, SOPInstanceUID: dcm.StorageCommitmentPushModelInstance,
				Type: result.EventType(), TransferSyntaxUID: accepted[0], Data: data,
			})
		}
		if refused := new(dimse.StatusError); errors.As(err, &refused) { // retrying would not help
			c.o.Logger.Warn("storage commitment report refused by the peer", "peer", p.Peer, "err", &dimse.StatusError{Status: refused.Status})
		} else if err != nil {
			scu.Abort()
			return err
		}
		c.answered(p)
		c.o.Logger.Info("storage commitment reported", "peer", p.Peer, "committed", len(result.Committed), "failed", len(result.Failed))
	}
	return scu.Release(ctx)
}
