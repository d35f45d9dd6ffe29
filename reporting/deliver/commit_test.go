package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ichor/pipeline/state"
	"ichor/reporting/deliver/stow"
	"ichor/scp/commitment"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
)

// archive is a node that commits to what it has.
type archive struct {
	*node
	offers  bool
	lost    map[string]int // objects that it loses so many times after it stored them
	mode    string         // same: reports on the same association; later: reports are kept for the test; never
	reports []commitment.Result
	asked   int
	fail    error // of the N-ACTION
}

type committing struct {
	*association
	a       *archive
	events  func(dimse.Event) dimse.Status
	pending []commitment.Result
}

func (c *committing) Accepted(sopClass string) []string {
	if sopClass == dcm.StorageCommitmentPushModel {
		if !c.a.offers {
			return nil
		}
		return []string{dcm.ImplicitVRLittleEndian}
	}
	return c.association.Accepted(sopClass)
}

func (c *committing) Action(_ context.Context, n dimse.Notice) (dimse.Status, error) {
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	c.a.asked++
	if c.a.fail != nil {
		return dimse.ProcessingFailure, c.a.fail
	}
	r, err := commitment.DecodeRequest(n.Data, n.TransferSyntaxUID)
	if err != nil || n.Type != commitment.ActionRequest || n.SOPInstanceUID != dcm.StorageCommitmentPushModelInstance {
		return dimse.InvalidArgument, fmt.Errorf("N-ACTION: %w", &dimse.StatusError{Status: dimse.InvalidArgument, Err: err})
	}
	result := commitment.Result{TransactionUID: r.TransactionUID}
	for _, ref := range r.References {
		if !slices.Contains(c.a.got, ref.SOPInstanceUID) || c.a.lost[ref.SOPInstanceUID] > 0 {
			c.a.lost[ref.SOPInstanceUID]--
			result.Failed = append(result.Failed, commitment.Failure{Reference: ref, Reason: commitment.NoSuchObject})
		} else {
			result.Committed = append(result.Committed, ref)
		}
	}
	switch c.a.mode {
	case "same":
		c.pending = append(c.pending, result)
	case "later":
		c.a.reports = append(c.a.reports, result)
	}
	return dimse.StatusSuccess, nil
}

func (c *committing) Await(ctx context.Context, d time.Duration) (bool, error) {
	if len(c.pending) == 0 {
		select {
		case <-time.After(d):
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	r := c.pending[0]
	c.pending = c.pending[1:]
	data, err := r.Encode(dcm.ImplicitVRLittleEndian)
	if err != nil {
		return false, err
	}
	if s := c.events(dimse.Event{SOPClassUID: dcm.StorageCommitmentPushModel, Type: r.EventType(), TransferSyntaxUID: dcm.ImplicitVRLittleEndian, Data: data}); !s.Success() {
		return false, fmt.Errorf("report answered with %s", s)
	}
	return true, nil
}

// newCommitRig is a rig with one destination, A, that is to commit.
func newCommitRig(t *testing.T, a *archive) *rig {
	a.node = &node{}
	if a.lost == nil {
		a.lost = map[string]int{}
	}
	r := newRig(t, map[string]*node{"A": a.node})
	r.opts.Destinations[0].Commitment = true
	r.opts.Dial = func(_ context.Context, _ Destination, o dimse.ConnectOptions) (Peer, error) {
		p, err := a.dial()
		if err != nil {
			return nil, err
		}
		return &committing{association: p.(*association), a: a, events: o.Events}, nil
	}
	return r
}

func (r *rig) states(uids ...string) (list []state.DeliveryState) {
	for _, uid := range uids {
		list = append(list, r.delivery(uid, "A").State)
	}
	return list
}

func TestCommitment(t *testing.T) {
	for name, tt := range map[string]struct {
		a     archive
		after time.Duration
		want  []state.DeliveryState // of 1 and 2
		sent  int                   // C-STOREs
		asked int                   // N-ACTIONs, 0: any number
		says  string                // of 2

		notCommitted int // reports of objects that it does not have
	}{
		"on the same association": {archive{offers: true, mode: "same"}, 0, []state.DeliveryState{state.Committed, state.Committed}, 2, 1, "", 0},
		"lost once, sent again": {archive{offers: true, mode: "same", lost: map[string]int{"2": 1}}, time.Minute,
			[]state.DeliveryState{state.Committed, state.Committed}, 3, 2, "", 1},
		"lost every time": {archive{offers: true, mode: "same", lost: map[string]int{"2": 99}}, time.Hour,
			[]state.DeliveryState{state.Committed, state.Dead}, 6, 0, "not committed: 0112H no such object instance", 5},
		"no report, asked again": {archive{offers: true, mode: "never"}, 90 * time.Minute, []state.DeliveryState{state.Stored, state.Stored}, 2, 2, "", 0},
		"no report for good":     {archive{offers: true, mode: "never"}, 3 * time.Hour, []state.DeliveryState{state.Dead, state.Dead}, 2, 2, "did not report", 0},
		"not offered":            {archive{}, 30 * time.Minute, []state.DeliveryState{state.Stored, state.Stored}, 2, 0, "", 0},
		"request refused": {archive{offers: true, fail: &dimse.StatusError{Status: dimse.ProcessingFailure, Comment: "says the peer"}}, 30 * time.Minute,
			[]state.DeliveryState{state.Stored, state.Stored}, 2, 1, "", 0},
		"request breaks the association": {archive{offers: true, fail: errReset}, 10 * time.Second, []state.DeliveryState{state.Stored, state.Stored}, 2, 0, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a := tt.a
				r := newCommitRig(t, &a)
				told := map[Outcome]int{}
				r.opts.Events = func(e Event) { told[e.Outcome]++ }
				r.addCommitted("1.2", "1", "2")
				r.run()
				sleep(tt.after)
				r.stop()
				committed := 0
				for _, s := range tt.want {
					if s == state.Committed {
						committed++
					}
				}
				if told[Committed] != committed || told[NotCommitted] != tt.notCommitted {
					t.Errorf("told of %v", told)
				}
				if got := r.states("1", "2"); !slices.Equal(got, tt.want) || !strings.Contains(r.delivery("2", "A").LastError, tt.says) {
					t.Errorf("%v (%q), want %v", got, r.delivery("2", "A").LastError, tt.want)
				}
				if len(a.have()) != tt.sent || tt.asked > 0 && a.asked != tt.asked || a.asked > 20 || a.look().open != 0 {
					t.Errorf("%d objects sent, asked %d times, %d associations open", len(a.have()), a.asked, a.look().open)
				}
				if strings.Contains(r.log.String(), "says the peer") {
					t.Error("the log repeats what a destination may say of a patient")
				}
			})
		})
	}
}

// TestCommitmentLater reports on an association of the archive's own, after a restart.
func TestCommitmentLater(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := &archive{offers: true, mode: "later", lost: map[string]int{"2": 1}}
		r := newCommitRig(t, a)
		r.addCommitted("1.2", "1", "2")
		r.run()
		sleep(5 * time.Second)
		r.stop()
		r.store.Close()
		r.open()
		r.run()
		if known, err := r.d.Result(a.reports[0]); !known || err != nil {
			t.Fatalf("known %v, error %v", known, err)
		}
		if known, err := r.d.Result(a.reports[0]); known || err != nil {
			t.Errorf("the same again: known %v, error %v", known, err)
		}
		r.d.Wake()
		sleep(5 * time.Second)
		if got := r.states("1", "2"); !slices.Equal(got, []state.DeliveryState{state.Committed, state.Stored}) || len(a.reports) != 2 {
			t.Fatalf("%v after %d reports", got, len(a.reports))
		}
		if known, err := r.d.Result(a.reports[1]); !known || err != nil {
			t.Fatalf("known %v, error %v", known, err)
		}
		if got := r.states("1", "2"); got[1] != state.Committed || len(a.have()) != 3 {
			t.Errorf("%v, sent %v", got, a.have())
		}
	})
}

// addCommitted finishes a case whose objects are to be committed to.
func (r *rig) addCommitted(study string, uids ...string) {
	r.commitment = true
	defer func() { r.commitment = false }()
	r.add(study, uids...)
}

// TestAssociations sends over several associations at a time, each object once.
func TestAssociations(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := &node{delay: time.Second}
		r := newRig(t, map[string]*node{"A": n})
		r.opts.Batch = 4
		r.opts.Destinations[0].Associations = 3
		var want []string
		for i := range 40 {
			want = append(want, fmt.Sprintf("%02d", i))
		}
		r.add("1.2", want...)
		r.run()
		sleep(20 * time.Second) // one association would take 40 s
		got := n.have()
		slices.Sort(got)
		if !slices.Equal(got, want) || n.look().most != 3 {
			t.Errorf("%d associations at a time, got %v", n.look().most, got)
		}
		// When it fails, one at a time.
		n.tell(func(n *node) { n.refuse = func(int) error { return errReset }; n.most = 0 })
		r.add("1.3", "a", "b", "c", "d", "e", "f", "g", "h", "i")
		sleep(time.Hour)
		if s := r.d.Status()[0]; !s.Down || s.Sending != 0 {
			t.Errorf("%+v", s)
		}
		n.tell(func(n *node) { n.refuse = nil })
		sleep(5 * time.Minute)
		if len(n.have()) != 49 {
			t.Errorf("%d objects", len(n.have()))
		}
	})
}

// TestSuperseded holds that what a newer revision does not have is not sent any more, even if an attempt has it at hand.
func TestSuperseded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := &node{delay: time.Minute}
		r := newRig(t, map[string]*node{"A": n})
		r.add("1.2", "old 1", "old 2", "both")
		r.run()
		sleep(time.Second) // old 1 is on its way
		if _, err := r.store.Requeue(state.IDOf("1.2"), time.Now()); err != nil {
			t.Fatal(err)
		}
		r.add("1.2", "both", "new")
		sleep(10 * time.Minute)
		got := n.have()
		slices.Sort(got)
		if !slices.Equal(got, []string{"both", "new", "old 1"}) {
			t.Errorf("sent %v", got)
		}
		if d := r.delivery("old 2", "A"); d.State != state.Superseded || !d.Settled() {
			t.Errorf("%+v", d)
		}
	})
}

// TestRemedy: what helps follows from what happened, whatever the destination wrote about it.
func TestRemedy(t *testing.T) {
	t.Parallel()
	said := func(s dimse.Status, comment string) error {
		return fmt.Errorf("C-STORE: %w", &dimse.StatusError{Status: s, Comment: comment})
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{said(dimse.SOPClassNotSupported, "x"), "SOP class"},
		{fmt.Errorf("Segmentation Storage: %w", errNoContext), "SOP class"},
		{said(dimse.CannotUnderstand, "cannot commit: association rejected, HTTP 401, presentation context"), "destination's log"},
		{said(dimse.OutOfResources, "database commit failed"), "overloaded"},
		{said(dimse.NotAuthorized, ""), "authorize ichor"},
		{fmt.Errorf("association with PACS: %w", errCalling), "AE title"},
		{fmt.Errorf("association with PACS: %w", errBusy), "ichor check"},
		{&stow.Error{Code: 401}, "credentials"},
		{&stow.Error{Code: 400, Words: "HTTP 401 in result object"}, "destination's log"},
		{fmt.Errorf("%w: in x: no such file", errFile), "ichor retry"},
		{fmt.Errorf("in x: %w", errRotten), "ichor retry"},
		{errors.New("dial tcp: status C000H refused"), "ichor check"},
	} {
		if got := Remedy(causeOf(tt.err)); !strings.Contains(got, tt.want) {
			t.Errorf("%v: %q, want %q in it", tt.err, got, tt.want)
		}
	}
	for cause, want := range map[state.Cause]string{state.Uncommitted: "keeps", state.Unconfigured: "to the configuration again", "": "ichor check"} {
		if got := Remedy(cause); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q in it", cause, got, want)
		}
	}
}

// countingStore counts how often a line looks.
type countingStore struct {
	Store
	looks *atomic.Int32
}

func (c countingStore) Due(destination string, n int) ([]state.Delivery, error) {
	c.looks.Add(1)
	return c.Store.Due(destination, n)
}

// TestLineIsIdle holds that a line which waits, for an answer, for a report, or for a destination that is not to commit
// any more, does not look for work all the time.
func TestLineIsIdle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := &archive{offers: true, mode: "never"}
		r := newCommitRig(t, a)
		var looks atomic.Int32
		r.opts.State = countingStore{r.store, &looks}
		r.opts.Destinations[0].Associations = 3
		a.delay = 10 * time.Minute
		r.addCommitted("1.2", "1", "2")
		r.run()
		sleep(30 * time.Minute)
		r.stop()
		if got := r.states("1", "2"); got[0] != state.Stored || looks.Load() > 2000 {
			t.Errorf("%v after %d looks", got, looks.Load())
		}
		r.opts.Destinations[0].Commitment = false
		looks.Store(0)
		r.run()
		sleep(2 * time.Hour)
		if n := looks.Load(); n > 500 {
			t.Errorf("%d looks", n)
		}
	})
}
