package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"ichor/config"
	"ichor/pipeline/finding"
	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/state"
	"ichor/reporting/events"
	"ichor/reporting/outcome"
	"ichor/reporting/web"
	"ichor/scp"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/receiver"
	"ichor/scp/ul"
)

const (
	canaryStudy = "mixed"          // the sample
	canaryTime  = 10 * time.Minute // from the first image to the last result
	canaryPoll  = 100 * time.Millisecond
)

// canary is the self-test: a synthetic head that is sent to this node by C-STORE over a socket of its own, and whose results
// are delivered to a receiver of its own. Objects are known as its own by their calling AE title, which no peer can have: the
// association needs a passcode that is made at each start.
type canary struct {
	passcode string
	folder   string // of the socket, for this user only
	door     net.Listener
	again    chan chan *web.Canary // orders of operators

	mu      sync.Mutex
	result  *web.Canary
	study   string // that is on its way; empty: none
	objects int
	pacs    *receiver.Receiver
}

// last returns the result of the last self-test, nil before the first.
func (c *canary) last() *web.Canary {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.result
}

// destination is the name of the receiver in state.
func (c *canary) destination() string { return config.CanaryTitle }

// expected returns how many images the study of the self-test has.
func (c *canary) expected(study string) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.objects, c.study == study
}

// address returns where the results go; "" while no self-test runs.
func (c *canary) address() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pacs == nil {
		return ""
	}
	return c.pacs.Address()
}

// open makes the socket.
func (c *canary) open() (err error) {
	c.passcode, c.again = rand.Text(), make(chan chan *web.Canary)
	if c.folder, err = os.MkdirTemp("", "ichor-canary-"); err != nil {
		return err
	}
	c.door, err = net.Listen("unix", filepath.Join(c.folder, "socket"))
	return err
}

// peer is who may call through the socket.
func (c *canary) peer() scp.Peer {
	return scp.Peer{AETitle: config.CanaryTitle, Username: "canary", Passcode: c.passcode, MaxAssociations: 1}
}

func (c *canary) close() error {
	if c.door != nil {
		_ = c.door.Close() // the server has usually closed it
	}
	folder := c.folder
	c.door, c.folder = nil, ""
	if folder == "" {
		return nil
	}
	return os.RemoveAll(folder)
}

// runCanary runs self-tests at the start, every day at its time, and when an operator asks, until ctx is done.
func (n *Node) runCanary(ctx context.Context) error {
	c := n.config.Canary
	due := time.Time{}
	if c.Start {
		due = time.Now()
	} else if next, ok := nextDaily(c, time.Now()); ok {
		due = next
	}
	for {
		var wait <-chan time.Time
		if !due.IsZero() {
			wait = time.After(time.Until(due))
		}
		var asked chan *web.Canary
		select {
		case <-ctx.Done():
			return nil
		case <-wait:
		case asked = <-n.canary.again:
		}
		result := n.selfTest(ctx)
		if ctx.Err() != nil {
			return nil
		}
		n.canary.mu.Lock()
		n.canary.result = result
		n.canary.mu.Unlock()
		n.happened()
		log, outcome := n.log.Info, "passed"
		if !result.OK {
			log, outcome = n.log.Error, "failed"
		}
		log("self-test "+outcome, "result", result.Result, "took", result.Took)
		n.events.Append(events.Event{Kind: events.Canary, Bundle: n.bundleName(), Outcome: outcome, Detail: result.Result})
		if asked != nil {
			asked <- result
			continue
		}
		due = time.Time{}
		if next, ok := nextDaily(c, time.Now()); ok {
			due = next
		}
	}
}

// nextDaily returns the next time of the daily self-test after now, by the clock on the wall.
func nextDaily(c config.Canary, now time.Time) (time.Time, bool) {
	hour, minute, ok := c.Daily()
	next := time.Date(now.Year(), now.Month(), now.Day(), hour, minute, 0, 0, now.Location())
	if !next.After(now) {
		next = time.Date(now.Year(), now.Month(), now.Day()+1, hour, minute, 0, 0, now.Location())
	}
	return next, ok
}

// Canary runs a self-test now and returns its result.
func (n *Node) Canary(ctx context.Context) (web.Canary, error) {
	result := make(chan *web.Canary, 1)
	select {
	case n.canary.again <- result:
	case <-ctx.Done():
		return web.Canary{}, fmt.Errorf("a self-test is running: %w", ctx.Err())
	}
	select {
	case r := <-result:
		return *r, nil
	case <-ctx.Done():
		return web.Canary{}, ctx.Err()
	}
}

// selfTest sends one head through the node.
func (n *Node) selfTest(ctx context.Context) *web.Canary {
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, canaryTime+n.config.Assembly.QuietPeriod, fmt.Errorf("no results within %v", canaryTime))
	defer cancel()
	said, err := n.sendCanary(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if cleaned := n.removeCanaries(); err == nil {
		err = cleaned
	}
	r := &web.Canary{At: start.UTC(), OK: err == nil, Result: said, Took: time.Since(start).Round(time.Millisecond)}
	if err != nil {
		r.Result = err.Error()
	}
	return r
}

func (n *Node) sendCanary(ctx context.Context) (string, error) {
	if err := n.removeCanaries(); err != nil { // of an earlier run of the node
		return "", err
	}
	head, err := phantom.Load(canaryStudy)
	if err != nil {
		return "", err
	}
	images, truth := head.DataSets(synthetic.WriteOptions{Edit: func(_ int, d *dcm.DataSet) {
		d.SetStrings(dcm.PatientName, "PN", config.CanaryTitle)
		d.SetStrings(dcm.PatientID, "LO", config.CanaryTitle)
	}})
	dir := filepath.Join(n.config.State, "canary")
	defer os.RemoveAll(dir)
	pacs, err := receiver.Start(receiver.Options{AETitle: config.CanaryTitle, Dir: dir})
	if err != nil {
		return "", err
	}
	c := &n.canary
	c.mu.Lock()
	c.study, c.objects, c.pacs = truth.StudyInstanceUID, len(images), pacs
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.study, c.pacs = "", nil
		c.mu.Unlock()
		_ = pacs.Close()
	}()
	if err := n.storeCanary(ctx, images); err != nil {
		return "", fmt.Errorf("C-STORE: %w", err)
	}
	done, objects, err := n.awaitCanary(ctx, state.IDOf(truth.StudyInstanceUID))
	if err != nil {
		return "", err
	}
	if done.Finding.Status != finding.Analyzed {
		return "", fmt.Errorf("the head was refused: %s", done.Finding.Reason)
	}
	if got := len(pacs.Objects()); got < objects {
		return "", fmt.Errorf("%d of %d results were delivered", got, objects)
	}
	return compareVolumes(*done.Finding.Volumes, truth.TruthML, n.config.Canary.Tolerance)
}

// storeCanary sends the images as a scanner does.
func (n *Node) storeCanary(ctx context.Context, images []*dcm.DataSet) error {
	scu, err := dimse.Connect(ctx, dimse.ConnectOptions{
		Address: n.canary.door.Addr().String(), CallingAE: config.CanaryTitle, CalledAE: n.config.DICOM.AETitle,
		Contexts: []ul.ProposedContext{{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{dcm.ExplicitVRLittleEndian}}},
		Identity: &ul.UserIdentity{Type: ul.IdentityPasscode, Primary: []byte("canary"), Secondary: []byte(n.canary.passcode)},
	})
	if err != nil {
		return err
	}
	for _, d := range images {
		if _, err := scu.StoreDataSet(ctx, d, dcm.ExplicitVRLittleEndian); err != nil {
			scu.Abort()
			return err
		}
	}
	return scu.Release(ctx)
}

// awaitCanary waits until the case has its result and every object is stored at the receiver.
func (n *Node) awaitCanary(ctx context.Context, id state.CaseID) (c state.Case, objects int, err error) {
	tick := time.NewTicker(canaryPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return c, 0, context.Cause(ctx)
		case <-tick.C:
		}
		c, err = n.store.Case(id)
		switch {
		case errors.Is(err, state.ErrNotFound):
			continue
		case err != nil:
			return c, 0, err
		case c.Phase == state.Failed:
			return c, 0, fmt.Errorf("the analysis failed: %s", c.Error)
		case c.Current() == nil:
			continue
		}
		deliveries, err := n.store.Deliveries(id)
		if err != nil {
			return c, 0, err
		}
		open := 0
		for _, d := range deliveries {
			switch {
			case d.Destination != n.canary.destination():
			case d.State == state.Dead:
				return c, 0, fmt.Errorf("the delivery of %s failed: %s", d.Kind, d.LastError)
			case d.State == state.Pending:
				open++
			default:
				objects++
			}
		}
		if open == 0 && objects > 0 {
			return c, objects, nil
		}
		objects = 0
	}
}

// compareVolumes returns the volumes in words, and an error if the total is further from the truth than percent.
func compareVolumes(found, truth finding.Volumes, percent int) (string, error) {
	said := fmt.Sprintf("%.1f mL found, %.1f mL true", found.Total, truth.Total)
	if off := 100 * math.Abs(found.Total-truth.Total) / truth.Total; percent > 0 && off > float64(percent) {
		return "", fmt.Errorf("%s: %.0f %% off, more than canary.tolerance %d", said, off, percent)
	}
	return said, nil
}

// isCanary reports whether a study was sent by a self-test, of this run or an earlier one.
func (n *Node) isCanary(study string) bool {
	objects := n.spool.Study(study)
	return len(objects) > 0 && objects[0].CallingAE == config.CanaryTitle
}

// route sends results of a self-test only to its receiver and to destinations that the configuration names, and those of
// patients never to its receiver.
func (n *Node) route(id state.CaseID, all []outcome.Destination) []outcome.Destination {
	c, err := n.store.Case(id)
	test := err == nil && n.isCanary(c.StudyInstanceUID)
	return slices.DeleteFunc(slices.Clone(all), func(d outcome.Destination) bool {
		own := d.Name == n.canary.destination()
		if test {
			return !own && !slices.Contains(n.config.Canary.Deliver, d.Name)
		}
		return own
	})
}

// removeCanaries removes what self-tests left: open deliveries to their receiver, their studies, results and cases. A study
// whose results still wait for a destination of canary.deliver stays until retention removes it.
func (n *Node) removeCanaries() error {
	given, err := n.store.GiveUp(n.canary.destination(), 0, state.Unconfigured, "the self-test is over", now())
	if err != nil {
		return err
	}
	for _, d := range given {
		if err := n.store.Discard(d.DeliveryKey, now()); err != nil && !errors.Is(err, state.ErrTransition) {
			return err
		}
	}
	for _, study := range n.spool.Studies() {
		if !n.isCanary(study) {
			continue
		}
		id := state.IDOf(study)
		if removed := n.sweeper.Remove(id); removed {
			if err := n.store.ForgetCase(id); err != nil {
				return err
			}
		}
	}
	return nil
}
