// Package node is the complete appliance as a value. New connects the parts in the order in which a study passes through
// them, Run works until its context is done, Close frees them.
//
//	standby.go     a disk that cannot be written at the start
//	study.go       reception to assembly, assembly to the queue, and resuming after a restart
//	job.go         one job of the queue: analyse and record the result
//	early.go       analyses while the quiet period still runs
//	call.go        connections to destinations and peers
//	lend.go        studies for the workers of other machines
//	exchange.go    what nodes and workers say to each other
//	worker.go      such a worker, as a value
//	operator.go    retry, replay, dead letters
//	engine.go      the loaded networks
//	rest.go        memory freed after analyses
//	sockets.go     listening ports, opened here or passed by systemd
//	observe.go     metrics of the node as a whole
//	reload.go      settings that change while the node runs
//	options.go     what the configuration says to each part
//	systemd.go     what systemd is told: ready, status, alive
//	pulse.go       whether reception, queue and state move
//	progress.go    whether analyses move
//	backup.go      a copy of the state folder of the running node
//	alarms.go      what an operator must act on
//	watch.go       tells about alarms in the log, and sees that the node before this one crashed
//	callers.go     who called and who was rejected
//	pair.go        what the two nodes of a pair tell each other
//	handover.go    which of them sends a result
//	standing.go    how the pair is shown
//	canary.go      the self-test
//	record.go      the event log
//	trace.go       the steps of cases for OpenTelemetry
//	shadow.go      a second bundle that analyses and sends nothing
//	choice.go      which bundle is used, and which were
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"ichor/config"
	"ichor/pipeline/assembly"
	"ichor/pipeline/finding"
	"ichor/pipeline/queue"
	"ichor/pipeline/retention"
	"ichor/pipeline/state"
	"ichor/reporting/deliver"
	"ichor/reporting/events"
	"ichor/reporting/outcome"
	"ichor/reporting/traces"
	"ichor/reporting/web"
	"ichor/scp"
	"ichor/scp/secure"
	"ichor/scp/spool"
)

// Options configure a Node.
type Options struct {
	Config  config.Config
	Version string       // of ichor, written to the result objects
	Commit  string       // of the source, for metrics; may be empty
	Logger  *slog.Logger // nil: no logging
	Engine  *Engine      // nil: the bundle of the configuration is loaded
}

// Node is the complete appliance in one process. The fields are in the order in which a study passes through them.
type Node struct {
	config   config.Config
	version  string // of ichor
	commit   string // of its source
	log      *slog.Logger
	observer *observer
	turned   turnedAway
	callers  callers
	tokens   tokens
	canary   canary
	events   eventLog
	singles  singles
	traces   *traces.Tracer // nil: off
	shadow   chan shadowed  // analysed studies for the second bundle
	news     chan struct{}  // something happened that may be an alarm
	token    string         // of the web interface
	started  time.Time      // of this node
	crashed  time.Time      // when a node before it was last alive that did not stop in order

	passed       map[string][]net.Listener // sockets from systemd that dicom has not taken yet
	dicom        ports
	blocked      atomic.Pointer[error]             // why the state folder is not open; Run tries again. nil: it is
	credentials  *secure.Credentials               // for TLS; nil: not configured
	senders      atomic.Pointer[map[string]sender] // by AE title; Reload replaces it
	urgent       atomic.Pointer[map[string]bool]   // AE titles whose studies come first
	server       *scp.Server
	spool        *spool.Spool
	assembler    *assembly.Assembler
	store        *state.Store
	queue        *queue.Queue
	engine       *Engine
	working      sync.Map      // cases that are being analysed
	progress     progress      // whether analyses move
	computing    chan struct{} // one element for each running analysis, early ones included
	ended        chan struct{} // an analysis ended
	early        *early        // nil: none
	lending      *lending      // nil: no workers on other machines
	results      *outcome.Recorder
	destinations map[string]config.Destination // by name
	pair         *paired                       // nil: this node works by itself
	deliverer    *deliver.Deliverer
	callback     *scp.Callback // sends Storage Commitment results
	sweeper      *retention.Sweeper
	asked        chan string // studies whose object count to ask from their senders
	http         net.Listener
	handler      atomic.Pointer[http.Handler] // the web interface; Reload replaces it
	inUse        used
}

// New builds every part and resumes the work of an earlier run. On error nothing stays open. It is no error if the disk of the
// state folder is full, read-only or failing: Ready then returns the cause, and Run tries again.
func New(ctx context.Context, o Options) (_ *Node, err error) {
	c, log := o.Config, o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	n := &Node{config: c, version: o.Version, commit: o.Commit, engine: o.Engine, log: log, started: now(), observer: newObserver(), asked: make(chan string, askedQueue), news: make(chan struct{}, 1), shadow: make(chan shadowed, shadowQueued)}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.config, err = WithChoice(c); err != nil {
		return nil, err
	}
	c = n.config
	n.inUse.config = c
	if err := n.claimSockets(); err != nil {
		return nil, err
	}
	if _, err := CheckMemory(os.DirFS("/")); err != nil {
		log.Warn("too little memory", "err", err)
	}
	if n.credentials, err = OpenCredentials(c, log); err != nil {
		return nil, err
	}
	n.look()
	if n.token, err = c.HTTP.ReadToken(); err != nil {
		return nil, err
	}
	if n.engine == nil {
		if n.engine, err = OpenEngine(ctx, c.Analysis); err != nil {
			return nil, err
		}
	}
	n.measure(o.Version, o.Commit)
	host, _ := os.Hostname()
	if n.traces, err = openTraces(ctx, c, "ichor", o.Version, host, log); err != nil {
		return nil, err
	}
	if err := n.openLending(ctx); err != nil {
		return nil, err
	}
	n.computing, n.ended = make(chan struct{}, max(c.Analysis.Workers, 1)), make(chan struct{}, 1)
	if bytes, _ := memory(os.DirFS("/")); c.Analysis.Workers > 0 && (bytes == 0 || bytes >= uint64(1+c.Analysis.Workers)*minMemory) {
		n.early = newEarly(c.Analysis.Workers, n.analyseEarly)
	}
	if err := n.open(ctx); queue.DiskTrouble(err) {
		n.blocked.Store(&err)
	} else if err != nil {
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

// open opens the state folder, resumes the work of an earlier run, and builds the parts that need it, in flow order. After an
// error nothing of it stays open, and it can be called again.
func (n *Node) open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, n.closeState())
		}
	}()
	c := n.config
	if err := os.MkdirAll(c.State, 0o750); err != nil {
		return fmt.Errorf("state folder %s: %w; make it writable for this user, or set state to another folder", c.State, err)
	}
	disk := spoolOptions(c, n.log)
	spool.MakeRoom(disk.Dir, max(disk.ReserveBytes, minFree)) // state and queue cannot be opened on a full disk
	// The state file is locked first: a second process must not touch spool or results.
	if n.store, err = state.Open(filepath.Join(c.State, "state.db")); err != nil {
		return err
	}
	n.crashed = n.foundMark()
	if err := n.openEvents(); err != nil {
		return err
	}
	if n.results, err = outcome.New(n.resultOptions(n.version)); err != nil {
		return err
	}
	if n.spool, err = spool.Open(ctx, disk); err != nil {
		return err
	}
	jobs := queueOptions(c, n.log)
	jobs.Node, jobs.Dir, jobs.Serves = n.store.Node(), filepath.Join(c.State, "queue"), n.serves()
	jobs.Queued, jobs.Failed, jobs.PutOff, jobs.GivenUp = n.queuedJobs, n.failed, n.putOff, n.givenUp
	if n.queue, err = queue.Start(ctx, jobs); err != nil {
		return err
	}
	n.assembler = assembly.New(assembly.Options{
		Quiet: c.Assembly.QuietPeriod, Least: c.Assembly.LeastQuiet, Limit: c.Assembly.Limit, Begin: n.begin, Ask: n.ask, Objects: n.received, Complete: n.complete,
		Ready: n.spool.Ready, Senders: n.knownSenders(), Learnt: n.learnt, Ripe: n.early.begin,
	})
	for _, d := range c.Destinations {
		if d.Commitment {
			continue
		}
		if err := n.store.WaiveCommitment(d.Name, now()); err != nil {
			return err
		}
	}
	if err := n.buryUnknown(); err != nil {
		return err
	}
	if err := n.resume(ctx); err != nil {
		return err
	}
	if err := n.openPair(); err != nil {
		return err
	}
	n.deliverer = n.newDeliverer()
	n.callback = n.newCallback()
	n.sweeper = retention.New(n.retentionOptions())
	if err := n.canary.open(); err != nil {
		return fmt.Errorf("socket of the self-test: %w", err)
	}
	if n.server, err = n.newServer(n.spool, sink{n.assembler, n.store, n.early, n.pair}, n.callback); err != nil {
		return err
	}
	n.measureState()
	n.recordStart()
	return nil
}

// Run works until ctx is done, then drains: each part stops accepting work and has its own time limit to finish what it
// has begun. The rest is on disk, and the next New resumes it.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	waits := n.blocked.Load() != nil
	if waits {
		n.show(web.StandBy(n.standByPages()))
	} else {
		n.show(n.web())
	}
	if n.http != nil {
		g.Go(func() error { return n.serveHTTP(ctx, n.http, n.shown()) })
	}
	if waits {
		if err := n.standBy(ctx); err != nil || ctx.Err() != nil {
			cancel()
			return cmp.Or(err, g.Wait())
		}
	}
	b := n.engine.Bundle
	n.log.Info("ready", "dicom", n.Addrs(), "ae", n.config.DICOM.AETitle, "http", n.HTTPAddr(), "bundle", b.Name+" "+b.Version,
		"provider", n.config.Analysis.Provider, "precision", n.engine.Precision, "chosen", n.engine.Why, "note", finding.Disclaimer)
	g.Go(func() error { return n.server.Serve(ctx, append(n.dicom.secured(), n.canary.door)...) })
	g.Go(func() error { return n.spool.Prepare(ctx) })
	g.Go(func() error { return n.spool.Watch(ctx) })
	g.Go(func() error { return n.scrub(ctx) })
	g.Go(func() error { return n.assembler.Run(ctx) })
	g.Go(func() error { return n.count(ctx) })
	g.Go(func() error { return n.early.run(ctx, n.receivingObjects) })
	g.Go(func() error { return n.rest(ctx) })
	g.Go(func() error { return n.lend(ctx) })
	g.Go(func() error { return n.queue.Work(ctx, n.config.Analysis.Workers, n.analyse) })
	g.Go(func() error { return n.results.Run(ctx) })
	g.Go(func() error { return n.runPair(ctx) })
	g.Go(func() error { return n.callback.Run(ctx) })
	g.Go(func() error { return n.sweeper.Run(ctx) })
	g.Go(func() error { return n.watchdog(ctx, n.pulse) })
	g.Go(func() error { return n.tellStatus(ctx) })
	g.Go(func() error { return n.watch(ctx) })
	g.Go(func() error { return n.runCanary(ctx) })
	g.Go(func() error { return n.keepEvents(ctx) })
	g.Go(func() error { return n.runShadow(ctx) })
	for _, a := range n.events.audits {
		g.Go(func() error { return a.Run(ctx) })
	}
	n.inUse.allow()
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	n.removeMark()
	n.appendAll(n.singles.of(""))
	n.events.Append(events.Event{Kind: events.Stopped})
	return nil
}

// Close frees what New opened, in reverse order. Call it after Run has returned.
func (n *Node) Close() error {
	listeners := []net.Listener{n.http}
	if n.lending != nil {
		listeners = append(listeners, n.lending.listener)
	}
	for _, p := range n.dicom {
		listeners = append(listeners, p.Listener)
	}
	for _, lns := range n.passed {
		listeners = append(listeners, lns...)
	}
	var errs []error
	for _, l := range listeners {
		if l != nil {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	errs = append(errs, n.closeState(), n.traces.Close())
	if n.engine != nil {
		errs = append(errs, n.engine.Close())
	}
	return errors.Join(errs...)
}

// closeState closes what open opened.
func (n *Node) closeState() error {
	var errs []error
	if n.queue != nil {
		errs = append(errs, n.queue.Close())
	}
	if n.spool != nil {
		errs = append(errs, n.spool.Close())
	}
	errs = append(errs, n.canary.close(), n.closeEvents())
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	n.queue, n.spool, n.store = nil, nil, nil
	return errors.Join(errs...)
}

// Addr returns the address of the first DICOM port.
func (n *Node) Addr() string { return n.dicom[0].Addr().String() }

// Addrs lists all DICOM ports as text.
func (n *Node) Addrs() string { return n.dicom.String() }

// HTTPAddr returns the address of the web interface, "none" if it is off.
func (n *Node) HTTPAddr() string {
	if n.http == nil {
		return "none"
	}
	return n.http.Addr().String()
}

// Engine returns the loaded bundle.
func (n *Node) Engine() *Engine { return n.engine }

// State returns the store of cases and deliveries, for reading.
func (n *Node) State() *state.Store { return n.store }

// Ready returns an error if the node cannot receive or analyse.
func (n *Node) Ready() error {
	if why := n.blocked.Load(); why != nil {
		return *why
	}
	if err := n.spool.Ready(); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if err := n.queue.Ready(); err != nil {
		return err
	}
	if err := n.expired(now()); err != nil {
		return err
	}
	if c := n.canary.last(); c != nil && !c.OK {
		return fmt.Errorf("self-test: %s", c.Result)
	}
	return n.alive()
}

// alive returns an error if the process must be restarted; a full disk is no reason for a restart.
func (n *Node) alive() error {
	_, err := n.store.Counts()
	return err
}

// scrub verifies in the background the objects stored by earlier runs.
func (n *Node) scrub(ctx context.Context) error {
	if err := n.spool.Scrub(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}

// now returns the time for all records.
func now() time.Time { return time.Now().UTC() }
