package main

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ichor/pipeline/state"
	"ichor/scp/receiver"
)

// TestPairKilled kills one of two nodes of a pair (SIGKILL) at each phase of a study that both receive. The other one ends its
// work: the PACS has one set of results. Only an object that was on its way may arrive twice. The node that comes back sends
// nothing, and says of every object that it is stored.
func TestPairKilled(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 1, 0, false)
	var studies [][]dicomFile
	acknowledged := []map[string]bool{{}, {}}
	var stored, hangAt atomic.Int64 // objects of this phase; after which the PACS does not answer any more
	f.pacs.each = func(receiver.Instance) {
		if n := stored.Add(1); hangAt.Load() > 0 && n == hangAt.Load() {
			f.pacs.receiver().Hang(1)
		}
	}
	holder := func() (sends, waits *member) {
		t.Helper()
		f.until("one node has the lease", func() bool {
			for i, m := range f.nodes {
				out, err := m.ichor("status", "--alarms")
				if err == nil && strings.Contains(out, "pair ct: this node has the lease and sends results") {
					sends, waits = m, f.nodes[1-i]
				}
			}
			return sends != nil
		})
		return sends, waits
	}
	for _, phase := range []string{"received", "analysed", "written", "half delivered", "the other one is killed"} {
		sends, waits := holder()
		victim, other := sends, waits
		if phase == "the other one is killed" {
			victim, other = waits, sends
		}
		f.until("both are there", func() bool {
			out, err := other.ichor("status", "--alarms")
			return err == nil && !strings.Contains(out, "nothing takes over")
		})
		twice := f.pacs.twice()
		switch phase {
		case "written":
			f.pacs.receiver().Reject(1<<30, true)
		case "half delivered":
			stored.Store(0)
			hangAt.Store(2)
		}
		done := victim.said(`msg="study done"`)
		complete := victim.said(`msg="study complete"`)
		files := shortStudy(t)
		studies = append(studies, files)
		var sending sync.WaitGroup
		for i, m := range f.nodes {
			sending.Go(func() {
				if err := f.sendTo(t.Context(), m, files, func(o dicomFile) { acknowledged[i][o.SOPInstanceUID] = true }); err != nil {
					t.Error(err)
				}
			})
		}
		sending.Wait()
		switch phase {
		case "analysed", "the other one is killed":
			f.until("analysis", func() bool { return victim.said(`msg="study complete"`) > complete })
		case "written":
			f.until("written", func() bool { return victim.said(`msg="study done"`) > done })
		case "half delivered":
			f.until("half delivered", func() bool { return stored.Load() >= 2 })
		}
		t.Logf("%s: %s is killed", phase, victim.name)
		victim.kill(true)
		hangAt.Store(0)
		f.pacs.receiver().Hang(0)
		f.pacs.receiver().Reject(0, true)
		study := files[0].StudyInstanceUID
		f.until("the other node ends the work", func() bool { ok, _ := other.settled(study, len(files)); return ok })
		if wrong := f.pacs.oneSet(study); wrong != "" {
			t.Errorf("%s: %s", phase, wrong)
		}
		if n := f.pacs.twice() - twice; n > 1 || n > 0 && phase != "half delivered" {
			t.Errorf("%s: %d objects arrived twice", phase, n)
		}
		twice = f.pacs.twice()
		victim.release()
		f.until("the killed node knows", func() bool { ok, _ := victim.settled(study, len(files)); return ok })
		if n := f.pacs.twice(); n > twice {
			t.Errorf("%s: the node that came back sent %d objects again", phase, n-twice)
		}
		out, err := victim.ichor("status", string(state.IDOf(study)))
		if phase != "the other one is killed" && (err != nil || !strings.Contains(out, "sent by the other node of the pair")) {
			t.Errorf("%s: the killed node says %v\n%s", phase, err, out)
		}
	}
	f.check(studies, acknowledged)
}
