package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/receiver"
	"ichor/scp/ul"
)

// Options configure a run.
type Options struct {
	Plan     Plan
	Address  string        // of the measured node, which delivers to Receive
	CalledAE string        // of the node
	Warm     int           // studies of each sender before the measurement, from which the node learns their pauses
	Quiet    time.Duration // the longest quiet period of the node
	Pause    time.Duration // between two objects
	Patience time.Duration // without any result before the run is given up
	Use      func() (cpuSeconds float64, rssBytes int64)
	Progress func(done, all int)
}

// Run is one measurement. Make it, pass its Stored to the receiver of the results, then call Do.
type Run struct {
	o     Options
	start time.Time
	heads map[Kind]*synthetic.Study

	mu      sync.Mutex
	studies map[string]*Study // by Study Instance UID
	reports map[string]int    // structured reports by Study Instance UID
	last    time.Time         // a result was stored, or a study sent
}

// thinMM gives 250 slices of the shipped head.
const thinMM = 0.625

// New prepares a run.
func New(o Options) (*Run, error) {
	if err := o.Plan.Check(); err != nil {
		return nil, err
	}
	head, err := phantom.Load("mixed")
	if err != nil {
		return nil, err
	}
	thin := head
	if o.Plan.Thin > 0 {
		if thin = head.Thin(thinMM); len(thin.PositionsMM) > 250 {
			all := make([]int, 250)
			for i := range all {
				all[i] = i + (len(thin.PositionsMM)-len(all))/2
			}
			thin = thin.Only(all...)
		}
	}
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	return &Run{o: o, heads: map[Kind]*synthetic.Study{Thick: head, Thin: thin}, studies: map[string]*Study{}, reports: map[string]int{}}, nil
}

// Stored records a result. Its file is removed.
func (r *Run) Stored(i receiver.Instance) {
	at := time.Now()
	study, err := studyOf(i.Path)
	os.Remove(i.Path)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.studies[study]
	if s == nil {
		return // of the warm-up
	}
	s.Results++
	s.Stored, r.last = at.Sub(r.start), at
	if i.SOPClassUID == dcm.Comprehensive3DSRStorage || i.SOPClassUID == dcm.EnhancedSRStorage || i.SOPClassUID == dcm.ComprehensiveSRStorage {
		if r.reports[study]++; r.reports[study] > 1 {
			s.Again++
		}
	}
}

func studyOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	d, err := dcm.Read(f, info.Size(), dcm.Limits{})
	if err != nil {
		return "", err
	}
	return d.Data.String(dcm.StudyInstanceUID), nil
}

// Do sends the studies of the plan and returns when all results are stored, or none came for Options.Patience.
func (r *Run) Do(ctx context.Context) (Report, error) {
	if err := r.warm(ctx); err != nil {
		return Report{}, fmt.Errorf("studies before the measurement: %w", err)
	}
	r.start, r.last = time.Now(), time.Now()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	report := Report{Plan: r.o.Plan}
	var sampling, sending sync.WaitGroup
	sampling.Go(func() { report.Samples = r.sample(ctx) })
	arrivals := r.o.Plan.Arrivals()
	errs := make([]error, len(arrivals))
	list := make([]*Study, len(arrivals))
	for i, a := range arrivals {
		list[i] = &Study{Arrival: a}
		sending.Go(func() { errs[i] = r.send(ctx, list[i], r.heads[a.Kind]) })
	}
	sending.Wait()
	err := errors.Join(errs...)
	if err == nil {
		err = r.wait(ctx, list)
	}
	stop()
	sampling.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range list {
		report.Studies = append(report.Studies, *s)
	}
	report.sum()
	return report, err
}

// warm sends small studies, which the node refuses for too few slices, and waits until they count as complete.
func (r *Run) warm(ctx context.Context) error {
	if r.o.Warm == 0 {
		return nil
	}
	small := r.heads[Thick].Only(0, 1, 2, 3)
	for range r.o.Warm {
		for sender := range r.o.Plan.Senders {
			if err := r.store(ctx, sender, small, dcm.RandomUID()); err != nil {
				return err
			}
		}
	}
	select {
	case <-time.After(r.o.Quiet + 2*time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send sends one study at its time.
func (r *Run) send(ctx context.Context, s *Study, head *synthetic.Study) error {
	select {
	case <-time.After(time.Until(r.start.Add(s.At))):
	case <-ctx.Done():
		return ctx.Err()
	}
	uid := dcm.RandomUID()
	r.mu.Lock()
	r.studies[uid] = s
	s.Begun, s.Objects = time.Since(r.start), len(head.PositionsMM)
	r.mu.Unlock()
	err := r.store(ctx, s.Sender, head, uid)
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Sent, r.last = time.Since(r.start), time.Now()
	return err
}

// store sends a study over one association, as a scanner does.
func (r *Run) store(ctx context.Context, sender int, head *synthetic.Study, uid string) error {
	const syntax = dcm.ExplicitVRLittleEndian
	objects, _ := head.DataSets(synthetic.WriteOptions{StudyInstanceUID: uid})
	scu, err := dimse.Connect(ctx, dimse.ConnectOptions{Address: r.o.Address, CallingAE: "LOAD" + strconv.Itoa(sender+1), CalledAE: r.o.CalledAE,
		Contexts: []ul.ProposedContext{{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{syntax}}}})
	if err != nil {
		return err
	}
	for i, d := range objects {
		if i > 0 && r.o.Pause > 0 {
			time.Sleep(r.o.Pause)
		}
		objects[i] = nil // the pixels of thin slices are large
		if _, err := scu.StoreDataSet(ctx, d, syntax); err != nil {
			scu.Abort()
			return err
		}
	}
	return scu.Release(ctx)
}

// settled is how long no result may come after each study has one, before the run ends: results come one after another.
const settled = 3 * time.Second

// wait waits until each study has its report and no further result comes.
func (r *Run) wait(ctx context.Context, list []*Study) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		done, quiet := r.done(list)
		r.o.Progress(done, len(list))
		switch {
		case done == len(list) && quiet > settled:
			return nil
		case quiet > r.o.Patience:
			return nil // the report says how many are missing
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *Run) done(list []*Study) (done int, quiet time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.reports {
		if n > 0 {
			done++
		}
	}
	return done, time.Since(r.last)
}

// sampleEvery is the time between two samples of resource use.
const sampleEvery = 500 * time.Millisecond

func (r *Run) sample(ctx context.Context) (list []Sample) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	var before float64
	if r.o.Use != nil {
		before, _ = r.o.Use()
	}
	last := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return list
		case <-tick.C:
		}
		s := Sample{At: time.Since(r.start)}
		if r.o.Use != nil {
			cpu, rss := r.o.Use()
			s.CPU, s.RSSBytes, before = (cpu-before)/(s.At-last).Seconds(), rss, cpu
		}
		last = s.At
		r.mu.Lock()
		for uid, x := range r.studies {
			if x.Sent > 0 && r.reports[uid] == 0 {
				s.Waiting++
			}
		}
		r.mu.Unlock()
		list = append(list, s)
	}
}
