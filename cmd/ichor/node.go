package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ichor/config"
	"ichor/pipeline/assembly"
	"ichor/pipeline/queue"
	"ichor/pipeline/state"
	"ichor/reporting/deliver"
	"ichor/reporting/web"
	"ichor/scp"
	"ichor/scp/secure"
	"ichor/scp/spool"
)

// node is the whole appliance in one process. Its fields stand in the order a study passes them.
type node struct {
	config   config.Config
	log      *slog.Logger
	observer *observer

	passed      map[string]ports // by systemd, until dicom takes them
	dicom       ports
	credentials *secure.Credentials // of TLS; nil: none are configured
	server      *scp.Server
	spool       *spool.Spool
	assembler   *assembly.Assembler
	store       *state.Store
	queue       *queue.Queue
	engine      *engine
	results     string // folder of the objects to deliver
	deliverer   *deliver.Deliverer
	late        chan struct{} // something was delivered that may have been superseded on its way
	reporter    *scp.Reporter // of Storage Commitment
	asked       chan string   // studies whose senders are to be asked how many objects they have
	http        net.Listener
}

// newNode builds every part in flow order and takes up what a former run left. On error nothing stays open.
func newNode(ctx context.Context, c config.Config, log *slog.Logger) (_ *node, err error) {
	n := &node{config: c, log: log, observer: newObserver(), results: filepath.Join(c.State, "results"), asked: make(chan string, askedQueue), late: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if err := n.claimSockets(); err != nil {
		return nil, err
	}
	if n.credentials, err = openCredentials(c, log); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(n.results, 0o750); err != nil {
		return nil, fmt.Errorf("state folder %s: %w; make it writable for this user or choose another under state", c.State, err)
	}
	// The state file is locked first: a second process must not touch the spool.
	if n.store, err = state.Open(filepath.Join(c.State, "state.db")); err != nil {
		return nil, err
	}
	if err := n.cleanResults(); err != nil {
		return nil, err
	}
	if n.engine, err = openEngine(ctx, c.Analysis); err != nil {
		return nil, err
	}
	if n.spool, err = spool.Open(ctx, spoolOptions(c, log)); err != nil {
		return nil, err
	}
	if n.queue, err = queue.Start(ctx, queue.Options{
		URL: c.Queue.URL, Dir: filepath.Join(c.State, "queue"), MaxTries: c.Analysis.MaxTries, Dead: n.giveUp, Revive: n.revive, Logger: log,
	}); err != nil {
		return nil, err
	}
	n.assembler = assembly.New(assembly.Options{
		Quiet: c.Assembly.QuietPeriod, Limit: c.Assembly.Limit, Begin: n.begin, Ask: n.ask, Objects: n.here, Complete: n.complete,
	})
	for _, d := range c.Destinations {
		if d.Commitment {
			continue
		}
		if err := n.store.WaiveCommitment(d.Name, now()); err != nil {
			return nil, err
		}
	}
	if err := n.forsake(); err != nil {
		return nil, err
	}
	n.deliverer = n.newDeliverer()
	n.reporter = n.newReporter()
	if n.server, err = n.newServer(); err != nil {
		return nil, err
	}
	n.gauges()
	if err := n.resume(ctx); err != nil {
		return nil, err
	}
	if err := n.listenDICOM(ctx); err != nil {
		return nil, err
	}
	if c.HTTP.Listen != "" {
		if n.http, err = listen(ctx, "http.listen", c.HTTP.Listen); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func spoolOptions(c config.Config, log *slog.Logger) spool.Options {
	reserve := int64(c.DICOM.ReserveMiB) << 20
	if reserve == 0 {
		reserve = -1 // none: to the spool 0 is its default
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

func (n *node) newServer() (*scp.Server, error) {
	c := n.config.DICOM
	var peers []scp.Peer
	for _, p := range c.Peers {
		prefixes, err := p.Prefixes()
		if err != nil {
			return nil, err
		}
		peers = append(peers, scp.Peer{
			AETitle: p.AETitle, Prefixes: prefixes, Certificates: p.Certificates,
			Username: p.Username, Passcode: p.Passcode, MaxAssociations: p.MaxAssociations,
			Listens: p.Address != "",
		})
	}
	return scp.New(scp.Options{
		AETitle: c.AETitle, CheckCalledAE: c.CheckCalledAE, Peers: peers, AnyPeer: len(peers) == 0,
		MaxAssociations: c.MaxAssociations, MaxPerPeer: c.MaxPerPeer, TransferSyntaxes: n.engine.decoder.TransferSyntaxes(),
		ARTIM: c.RequestTimeout, Idle: c.IdleTimeout, Read: c.ReadTimeout,
		Spool: n.spool, Sink: sink{n.assembler, n.store}, Commitments: commitments{n.reporter, n.store, n.deliverer}, Logger: n.log,
		Events: n.observer.received,
	})
}

func (n *node) newDeliverer() *deliver.Deliverer {
	var destinations []deliver.Destination
	for _, d := range n.config.Destinations {
		destinations = append(destinations, deliver.Destination{
			Name: d.Name, Address: d.Address, CalledAE: d.AETitle, CallingAE: n.config.DICOM.AETitle, URL: d.URL,
			Associations: d.Associations, Commitment: d.Commitment, Deflate: d.Deflate,
		})
	}
	c := n.config.Delivery
	return deliver.New(deliver.Options{
		Destinations: destinations, State: n.store, FirstRetry: c.FirstRetry, MaxRetry: c.MaxRetry, MaxAge: c.MaxAge, Logger: n.log,
		Dial: n.dial, Events: n.sent,
	})
}

// Close frees what newNode opened, in the opposite order. It comes after run.
func (n *node) Close() error {
	var errs []error
	listeners := append(slices.Clone(n.dicom), n.http)
	for _, lns := range n.passed {
		listeners = append(listeners, lns...)
	}
	for _, l := range listeners {
		if l != nil {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if n.queue != nil {
		errs = append(errs, n.queue.Close())
	}
	if n.spool != nil {
		errs = append(errs, n.spool.Close())
	}
	if n.engine != nil {
		errs = append(errs, n.engine.Close())
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	return errors.Join(errs...)
}

func (n *node) httpAddr() string {
	if n.http == nil {
		return "none"
	}
	return n.http.Addr().String()
}

func (n *node) web() http.Handler {
	return web.New(web.Options{Cases: n.store, Operator: n, Token: n.config.HTTP.Token, Ready: n.ready, Metrics: &n.observer.registry})
}

// ready says why the node cannot receive or analyse.
func (n *node) ready() error {
	if err := n.spool.Ready(); err != nil {
		return fmt.Errorf("disk: %w; free some space or mend it", err)
	}
	if err := n.expired(now()); err != nil {
		return err
	}
	return n.alive()
}

// alive says why no more can come of this process; a full disk is no such reason.
func (n *node) alive() error {
	_, err := n.store.Counts()
	return err
}

// now is the clock of all records.
func now() time.Time { return time.Now().UTC() }
