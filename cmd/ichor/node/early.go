package node

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"ichor/pipeline"
	"ichor/pipeline/analysis"
	"ichor/pipeline/state"
	"ichor/scp/spool"
)

// early analyses studies that are likely to be complete while the quiet period still runs. A result is kept back until the
// study counts as complete, and dropped when another object arrives. Nothing of it is stored: after a restart the job of the
// study analyses it.
//
// At most as many results as the node has workers are computed or kept, because each holds a whole volume in memory.
type early struct {
	analyse func(ctx context.Context, study string, objects []spool.Object) (*analysis.Analysis, error)
	most    int
	ripe    chan string // studies to begin with

	mu      sync.Mutex
	guesses map[string]*guess // by study
	freed   chan struct{}     // a guess was taken or dropped
}

// guess is the early analysis of one study.
type guess struct {
	objects []string // digests of the objects, in the order of arrival
	cancel  context.CancelFunc
	done    chan struct{}      // closed when it has ended
	result  *analysis.Analysis // nil: it failed, then a job will tell why
}

// mostRipe bounds the studies that wait for an early analysis. The others are analysed when they are complete.
const mostRipe = 64

func newEarly(workers int, analyse func(context.Context, string, []spool.Object) (*analysis.Analysis, error)) *early {
	return &early{analyse: analyse, most: workers, ripe: make(chan string, mostRipe), guesses: map[string]*guess{}, freed: make(chan struct{}, 1)}
}

// begin requests an early analysis. It does not block. Like run, drop and take it does nothing for a nil e.
func (e *early) begin(study string) {
	if e == nil {
		return
	}
	select {
	case e.ripe <- study:
	default:
	}
}

// run starts early analyses until ctx is done, and returns when the last one has ended.
func (e *early) run(ctx context.Context, wanted func(study string) []spool.Object) error {
	if e == nil {
		return nil
	}
	var running sync.WaitGroup
	defer running.Wait()
	for {
		if !e.room(ctx) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case study := <-e.ripe:
			objects := wanted(study)
			if len(objects) == 0 {
				continue
			}
			inner, cancel := context.WithCancel(ctx)
			g := &guess{objects: digests(objects), cancel: cancel, done: make(chan struct{})}
			e.mu.Lock()
			if former := e.guesses[study]; former != nil {
				former.cancel()
			}
			e.guesses[study] = g
			e.mu.Unlock()
			running.Go(func() {
				defer close(g.done)
				defer cancel()
				result, err := e.analyse(inner, study, objects)
				if err == nil {
					g.result = result
				}
			})
		}
	}
}

// room waits until another guess may begin; false if ctx is done.
func (e *early) room(ctx context.Context) bool {
	for {
		e.mu.Lock()
		n := len(e.guesses)
		e.mu.Unlock()
		if n < e.most {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-e.freed:
		}
	}
}

// drop ends the guess of a study: another object arrived, or the study was analysed otherwise.
func (e *early) drop(study string) {
	if e == nil {
		return
	}
	if g := e.remove(study); g != nil {
		g.cancel()
	}
}

func (e *early) remove(study string) *guess {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := e.guesses[study]
	if g == nil {
		return nil
	}
	delete(e.guesses, study)
	select {
	case e.freed <- struct{}{}:
	default:
	}
	return g
}

// take waits for the guess of a study and returns its result, nil if there is none of exactly these objects.
func (e *early) take(ctx context.Context, study string, objects []spool.Object) *analysis.Analysis {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	g := e.guesses[study]
	e.mu.Unlock()
	if g == nil {
		return nil
	}
	defer e.drop(study)
	if !slices.Equal(g.objects, digests(objects)) {
		return nil
	}
	select {
	case <-g.done:
		return g.result
	case <-ctx.Done():
		return nil
	}
}

func digests(objects []spool.Object) []string {
	list := make([]string, len(objects))
	for i, o := range objects {
		list[i] = o.SOPInstanceUID + " " + o.SHA256
	}
	return list
}

// analyseEarly is the analysis of early. It ends with an error if the study is not whole, so that a job decides.
func (n *Node) analyseEarly(ctx context.Context, study string, objects []spool.Object) (_ *analysis.Analysis, err error) {
	log := n.log.With("case", state.IDOf(study))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
			log.Error("early analysis panicked; the study is analysed when it is complete", "err", err, "stack", string(debug.Stack()))
		}
	}()
	result, err := n.analyzeStudy(ctx, study, "", objects, true)
	switch {
	case ctx.Err() != nil, errors.Is(err, pipeline.ErrPartial):
		log.Debug("early analysis dropped", "err", err)
	case err != nil:
		log.Debug("early analysis failed; the study is analysed when it is complete", "err", err)
	}
	return result, err
}

// receivingObjects returns the objects of a study that is still received, none of another study.
func (n *Node) receivingObjects(study string) []spool.Object {
	if c, err := n.store.Case(state.IDOf(study)); err != nil || c.Phase != state.Receiving {
		return nil
	}
	return n.spool.Study(study)
}

// analyzeStudy runs the networks over objects of a study. As many analyses run at once as the node has workers.
func (n *Node) analyzeStudy(ctx context.Context, uid, complete string, objects []spool.Object, early bool) (*analysis.Analysis, error) {
	select {
	case n.computing <- struct{}{}:
		defer func() {
			<-n.computing
			select {
			case n.ended <- struct{}{}:
			default:
			}
		}()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	study := n.studyOf(uid, complete, objects)
	study.Early = early
	return n.progress.analyze(ctx, n.engine.Analyzer, study)
}

// studyOf returns a study of the spool.
func (n *Node) studyOf(uid, complete string, objects []spool.Object) pipeline.Study {
	study := pipeline.Study{UID: uid, InOrder: true, Complete: complete}
	for _, o := range objects {
		study.Objects = append(study.Objects, spooled{n.spool, o})
	}
	return study
}
