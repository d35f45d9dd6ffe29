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

// Promise is a request for Storage Commitment whose result the peer has not been told.
type Promise struct {
	Peer    string // AE title
	Request commitment.Request
	Asked   time.Time
}

// ReporterOptions say what is to be reported and how. All but the times are required; zero times take the defaults.
type ReporterOptions struct {
	Spool    *spool.Spool
	Promises func() ([]Promise, error)
	Answered func(peer, transactionUID string) error
	// Address returns how to call a peer, false where it takes results on its own associations only. Run calls it.
	Address func(peer string) (dimse.ConnectOptions, bool)
	Logger  *slog.Logger

	Retry  time.Duration // between attempts; 30 s
	MaxAge time.Duration // a result that could not be told for so long is dropped; 7 days
}

// Reporter tells peers the results of Storage Commitment on associations that it opens, as SCP by role selection
// (PS3.4 §J.3.3, PS3.7 §D.3.3.4).
type Reporter struct {
	o    ReporterOptions
	wake chan struct{}
}

// NewReporter returns a Reporter; Run makes it work.
func NewReporter(o ReporterOptions) *Reporter {
	if o.Retry <= 0 {
		o.Retry = 30 * time.Second
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 7 * 24 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Reporter{o: o, wake: make(chan struct{}, 1)}
}

// Wake tells that there is something to report.
func (r *Reporter) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run reports until ctx is done. What is left then is for the next Run. Each peer has a goroutine of its own, so that one
// that does not answer delays no other.
func (r *Reporter) Run(ctx context.Context) error {
	var peers sync.WaitGroup
	defer peers.Wait()
	busy := map[string]bool{} // peers that are being told; true: once more when that has ended
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
		case <-r.wake:
			for peer := range busy {
				busy[peer] = true
			}
		case <-timer.C:
		}
		for peer, list := range r.due(busy) {
			o, ok := r.o.Address(peer)
			if !ok || ctx.Err() != nil {
				continue
			}
			busy[peer] = false
			peers.Go(func() {
				if err := r.tell(ctx, o, list); err != nil && ctx.Err() == nil {
					r.o.Logger.Warn("storage commitment not reported, to be tried again", "peer", peer, "err", err)
				}
				select {
				case ended <- peer:
				case <-ctx.Done():
				}
			})
		}
		timer.Reset(r.o.Retry)
	}
}

// due lists what each peer is to be told that is not busy, and drops what is too old.
func (r *Reporter) due(busy map[string]bool) map[string][]Promise {
	promises, err := r.o.Promises()
	if err != nil {
		r.o.Logger.Error("storage commitments cannot be read", "err", err)
		return nil
	}
	of := map[string][]Promise{}
	for _, p := range promises {
		if _, is := busy[p.Peer]; is {
			continue
		}
		if time.Since(p.Asked) > r.o.MaxAge {
			r.o.Logger.Error("storage commitment not reported, the peer could not be told in time; give its address under dicom.peers", "peer", p.Peer)
			r.answered(p)
			continue
		}
		of[p.Peer] = append(of[p.Peer], p)
	}
	return of
}

func (r *Reporter) answered(p Promise) {
	if err := r.o.Answered(p.Peer, p.Request.TransactionUID); err != nil {
		r.o.Logger.Error("storage commitment reported, but that cannot be recorded", "peer", p.Peer, "err", err)
	}
}

// tell reports to one peer.
func (r *Reporter) tell(ctx context.Context, o dimse.ConnectOptions, list []Promise) error {
	o.Contexts = []ul.ProposedContext{{AbstractSyntax: dcm.StorageCommitmentPushModel, TransferSyntaxes: transferSyntaxes[:2]}}
	o.Roles = []ul.Role{{SOPClass: dcm.StorageCommitmentPushModel, SCP: true}}
	scu, err := dimse.Connect(ctx, o)
	if err != nil {
		return err
	}
	accepted := scu.Accepted(dcm.StorageCommitmentPushModel)
	if len(accepted) == 0 {
		scu.Abort()
		return fmt.Errorf("storage commitment: %w, the peer has to be set up to take results from us", ul.ErrNoContext)
	}
	for _, p := range list {
		result := Check(r.o.Spool, p.Request)
		data, err := result.Encode(accepted[0])
		if err == nil {
			_, err = scu.Report(ctx, dimse.Notice{
				SOPClassUID: dcm.StorageCommitmentPushModel, SOPInstanceUID: dcm.StorageCommitmentPushModelInstance,
				Type: result.EventType(), TransferSyntaxUID: accepted[0], Data: data,
			})
		}
		if refused := new(dimse.StatusError); errors.As(err, &refused) { // it will say so every time
			r.o.Logger.Warn("storage commitment report refused by the peer", "peer", p.Peer, "err", &dimse.StatusError{Status: refused.Status})
		} else if err != nil {
			scu.Abort()
			return err
		}
		r.answered(p)
		r.o.Logger.Info("storage commitment reported", "peer", p.Peer, "committed", len(result.Committed), "failed", len(result.Failed))
	}
	return scu.Release(ctx)
}
