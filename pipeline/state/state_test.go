package state

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"ichor/pipeline/finding"
)

const study = "1.2.840.1"

var (
	analyzed = finding.Finding{Status: finding.Analyzed}
	refused  = finding.Finding{Status: finding.Refused, Reason: "no head CT"}
)

// bring makes a case of 5 objects that is in a phase, at revision 1.
func bring(t *testing.T, s *Store, to Phase) {
	t.Helper()
	if to == "" {
		return
	}
	must(s.Receive(study, t0))(t)
	if to == Receiving {
		return
	}
	c := must(s.Queue(study, 5, "quiet 5s", t0))(t)
	var err error
	switch to {
	case Analyzed:
		err = s.Finish(c.ID, 1, Conclusion{Finding: analyzed}, t0)
	case Refused:
		err = s.Finish(c.ID, 1, Conclusion{Finding: refused}, t0)
	case Failed:
		err = s.Fail(c.ID, 1, "boom", t0)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTransitions does every operation in every phase.
func TestTransitions(t *testing.T) {
	id := IDOf(study)
	ops := []struct {
		name string
		do   func(*Store) error
	}{
		{"receive", func(s *Store) error { _, err := s.Receive(study, t0); return err }},
		{"queue 5", func(s *Store) error { _, err := s.Queue(study, 5, "quiet 5s", t0); return err }},
		{"queue 6", func(s *Store) error { _, err := s.Queue(study, 6, "quiet 5s", t0); return err }},
		{"requeue", func(s *Store) error { _, err := s.Requeue(id, t0); return err }},
		{"begin", func(s *Store) error { _, err := s.Begin(id, 1, t0); return err }},
		{"begin 2", func(s *Store) error { _, err := s.Begin(id, 2, t0); return err }},
		{"try failed", func(s *Store) error { _, err := s.TryFailed(id, 1, "boom", 9, t0); return err }},
		{"fail", func(s *Store) error { return s.Fail(id, 1, "boom", t0) }},
		{"finish", func(s *Store) error { return s.Finish(id, 1, Conclusion{Finding: analyzed}, t0) }},
		{"finish refused", func(s *Store) error { return s.Finish(id, 1, Conclusion{Finding: refused}, t0) }},
		{"finish 0", func(s *Store) error { return s.Finish(id, 0, Conclusion{Finding: analyzed}, t0) }},
	}
	type cell struct {
		phase    Phase
		revision int
		err      error
	}
	none := cell{"", 0, ErrNotFound}
	stale := func(p Phase) cell { return cell{p, 1, ErrStale} }
	ok := func(p Phase, revision int) cell { return cell{p, revision, nil} }
	want := map[Phase][]cell{ // in the order of ops
		"": {ok(Receiving, 1), ok(Queued, 1), ok(Queued, 1), none, none, none, none, none, none, none, none},
		Receiving: {ok(Receiving, 1), ok(Queued, 1), ok(Queued, 1), {Receiving, 1, ErrTransition}, stale(Receiving), stale(Receiving),
			stale(Receiving), stale(Receiving), stale(Receiving), stale(Receiving), stale(Receiving)},
		Queued: {ok(Receiving, 2), ok(Queued, 1), ok(Queued, 2), {Queued, 1, ErrTransition}, ok(Queued, 1), stale(Queued),
			ok(Queued, 1), ok(Failed, 1), ok(Analyzed, 1), ok(Refused, 1), stale(Queued)},
		Analyzed: {ok(Receiving, 2), ok(Analyzed, 1), ok(Queued, 2), ok(Queued, 2), stale(Analyzed), stale(Analyzed),
			stale(Analyzed), stale(Analyzed), ok(Analyzed, 1), ok(Analyzed, 1), stale(Analyzed)},
		Refused: {ok(Receiving, 2), ok(Refused, 1), ok(Queued, 2), ok(Queued, 2), stale(Refused), stale(Refused),
			stale(Refused), stale(Refused), ok(Refused, 1), ok(Refused, 1), stale(Refused)},
		Failed: {ok(Receiving, 2), ok(Failed, 1), ok(Queued, 2), ok(Queued, 2), stale(Failed), stale(Failed),
			stale(Failed), ok(Failed, 1), stale(Failed), stale(Failed), stale(Failed)},
	}
	for from, cells := range want {
		for i, op := range ops {
			t.Run(fmt.Sprintf("%s in %q", op.name, from), func(t *testing.T) {
				s := open(t, "")
				bring(t, s, from)
				err := op.do(s)
				if !errors.Is(err, cells[i].err) {
					t.Errorf("error %v, want %v", err, cells[i].err)
				}
				c, err := s.Case(id)
				if err != nil && !errors.Is(err, ErrNotFound) {
					t.Fatal(err)
				}
				if c.Phase != cells[i].phase || c.Revision != cells[i].revision {
					t.Errorf("%s at revision %d, want %s at %d", c.Phase, c.Revision, cells[i].phase, cells[i].revision)
				}
			})
		}
	}
}

// TestMayBecome holds every pair of phases.
func TestMayBecome(t *testing.T) {
	allowed := map[[2]Phase]bool{
		{"", Receiving}: true, {"", Queued}: true,
		{Receiving, Queued}: true,
		{Queued, Receiving}: true, {Queued, Queued}: true, {Queued, Analyzed}: true, {Queued, Refused}: true, {Queued, Failed}: true,
		{Analyzed, Receiving}: true, {Analyzed, Queued}: true,
		{Refused, Receiving}: true, {Refused, Queued}: true,
		{Failed, Receiving}: true, {Failed, Queued}: true,
	}
	all := append([]Phase{"", "other"}, Phases[:]...)
	for _, from := range all {
		for _, to := range all {
			if got := from.mayBecome(to); got != allowed[[2]Phase{from, to}] {
				t.Errorf("%q to %q: %v", from, to, got)
			}
			if from == "" || to == "" || from == "other" {
				continue
			}
			s := open(t, "")
			bring(t, s, from)
			err := s.update(func(tx *bolt.Tx) error {
				c, err := getCase(tx, IDOf(study))
				if err != nil {
					return err
				}
				c.Finding = &analyzed
				return advance(tx, &c, to, t0, "test")
			})
			if want := allowed[[2]Phase{from, to}]; (err == nil) != want || err != nil && !errors.Is(err, ErrTransition) {
				t.Errorf("%s to %s: %v", from, to, err)
			}
		}
	}
}

func TestLifeOfACase(t *testing.T) {
	s := open(t, "")
	at := t0.In(time.FixedZone("", 3600))
	c := must(s.Receive(study, at))(t)
	c = must(s.Queue(study, 40, "quiet 5s", at.Add(time.Minute)))(t)
	if c.Revision != 1 || c.Objects != 40 || c.Complete != "quiet 5s" || c.Created != t0 {
		t.Errorf("%+v", c)
	}
	for n := 1; n <= 3; n++ {
		if c = must(s.Begin(c.ID, 1, at))(t); c.Begun != n || c.Tries != 0 {
			t.Errorf("begun %d times, want %d", c.Begun, n)
		}
	}
	must(s.TryFailed(c.ID, 1, "out of memory", 2, at))(t)
	if err := s.TryPutOff(c.ID, 1, "disk full", at); err != nil {
		t.Fatal(err)
	}
	if c = must(s.Case(c.ID))(t); c.Error != "disk full" || c.Tries != 1 || c.Begun != 2 || c.Phase != Queued {
		t.Errorf("%+v", c)
	}
	if err := s.Finish(c.ID, 1, Conclusion{Finding: analyzed}, at.Add(2*time.Minute)); err != nil {
		t.Fatal(err)
	}
	c = must(s.Receive(study, at.Add(time.Hour)))(t)
	if c.Finding == nil || c.Error != "" || c.Tries != 0 || c.Revision != 2 || c.Updated != t0.Add(time.Hour) {
		t.Errorf("received again: %+v", c)
	}
	var steps []string
	for _, e := range must(s.History(c.ID))(t) {
		steps = append(steps, fmt.Sprintf("%s>%s %d %s", e.From, e.To, e.Revision, e.Why))
	}
	want := ">receiving 1 first object|receiving>queued 1 complete by quiet 5s|queued>analyzed 1 |analyzed>receiving 2 further objects"
	if got := strings.Join(steps, "|"); got != want {
		t.Errorf("history %s\nwant    %s", got, want)
	}
}

func TestResume(t *testing.T) {
	for _, tt := range []struct {
		phase   Phase
		objects int
		want    Next
	}{
		{"", 5, Assemble},
		{Receiving, 5, Assemble},
		{Queued, 5, Submit}, {Queued, 6, Assemble},
		{Analyzed, 5, Nothing}, {Analyzed, 6, Assemble},
		{Refused, 5, Nothing}, {Refused, 6, Assemble},
		{Failed, 5, Nothing}, {Failed, 6, Assemble},
	} {
		s := open(t, "")
		bring(t, s, tt.phase)
		next, c, err := s.Resume(study, tt.objects)
		if next != tt.want || err != nil || c.Phase != tt.phase {
			t.Errorf("%q with %d objects: %s %+v, error %v, want %s", tt.phase, tt.objects, next, c, err, tt.want)
		}
	}
}

func TestCasesAreNewestFirst(t *testing.T) {
	s := open(t, "")
	for _, n := range rand.Perm(20) {
		must(s.Receive(fmt.Sprint("1.2.", n), t0.Add(time.Duration(n)*time.Second)))(t)
	}
	must(s.Queue("1.2.7", 1, "quiet 5s", t0))(t)
	cases := must(s.Cases(5))(t)
	for i, c := range cases {
		if want := fmt.Sprint("1.2.", 19-i); c.StudyInstanceUID != want {
			t.Errorf("case %d is %s, want %s", i, c.StudyInstanceUID, want)
		}
	}
	if all := must(s.Cases(100))(t); len(cases) != 5 || len(all) != 20 {
		t.Errorf("%d and %d cases", len(cases), len(all))
	}
	if queued := must(s.InPhase(Queued))(t); len(queued) != 1 || queued[0].StudyInstanceUID != "1.2.7" {
		t.Errorf("queued: %+v", queued)
	}
	if n := must(s.Counts())(t); n.Cases[Receiving] != 19 || n.Cases[Queued] != 1 || n.Cases[Failed] != 0 {
		t.Errorf("counts %+v", n)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	held := filepath.Join(dir, "held.db")
	open(t, held)
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	nameless := filepath.Join(dir, "nameless.db")
	n := must(Open(nameless))(t)
	if err := n.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keyNode) }); err != nil {
		t.Fatal(err)
	}
	n.Close()
	newer := filepath.Join(dir, "newer.db")
	s := must(Open(newer))(t)
	if err := s.db.Update(func(tx *bolt.Tx) error { return putJSON(tx.Bucket(bucketMeta), keyVersion, formatVersion+1) }); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for path, want := range map[string]error{held: ErrLocked, garbage: ErrDamaged, nameless: ErrDamaged, newer: ErrVersion, filepath.Join(dir, "no", "folder.db"): os.ErrNotExist} {
		if s, err := Open(path); !errors.Is(err, want) {
			t.Errorf("%s: %v, %v, want %v", path, s, err, want)
		}
	}
}

// TestDamage flips bytes and cuts off ends: opening and reading gives an error or a store, never a crash.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	for n := range 50 {
		must(s.Receive(fmt.Sprint("1.2.", n), t0))(t)
	}
	s.Close()
	good := must(os.ReadFile(path))(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 150 {
		bad := append([]byte(nil), good...)
		if n%3 == 0 {
			bad = bad[:rng.IntN(len(bad))]
		} else {
			for range 1 + n {
				bad[rng.IntN(len(bad))] ^= byte(1 + rng.IntN(255))
			}
		}
		path := filepath.Join(t.TempDir(), "state.db") // an Open that met a fault keeps its lock until the process ends
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
				t.Errorf("damage %d: %v", n, err)
			}
			continue
		}
		s.Cases(100)
		s.Counts()
		s.Receive("1.2.3", t0)
		func() {
			defer func() { recover() }() // Close of a damaged file may complain; nothing uses it any more
			s.Close()
		}()
	}
}

// TestKilled kills a process with SIGKILL while it runs cases through: what it reported is there, and the file is
// sound.
func TestKilled(t *testing.T) {
	if path := os.Getenv("ICHOR_TEST_STATE"); path != "" {
		victim(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "state.db")
	reported := map[string]bool{}
	for range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$", "-test.count=1")
		cmd.Env = append(os.Environ(), "ICHOR_TEST_STATE="+path)
		out := must(cmd.StdoutPipe())(t)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		kill := 1 + rand.IntN(30)
		for n := 0; lines.Scan(); n++ {
			if uid, ok := strings.CutPrefix(lines.Text(), "finished "); ok {
				reported[uid] = true
			}
			if n == kill {
				cmd.Process.Kill() // and read what it had written before
			}
		}
		cmd.Wait()
		s := open(t, path)
		check(t, s)
		for uid := range reported {
			c, err := s.Case(IDOf(uid))
			deliveries := must(s.Deliveries(IDOf(uid)))(t)
			if err != nil || c.Phase != Analyzed || len(deliveries) != 3 {
				t.Errorf("case %+v with %d deliveries, error %v", c, len(deliveries), err)
			}
		}
		for _, c := range must(s.Cases(10000))(t) {
			n := len(must(s.Deliveries(c.ID))(t))
			if (c.Phase == Analyzed) != (n == 3) || n != 0 && n != 3 {
				t.Errorf("%s case with %d deliveries", c.Phase, n)
			}
		}
		s.Close()
	}
	if len(reported) == 0 {
		t.Error("nothing was ever finished")
	}
}

func victim(t *testing.T, path string) {
	s := must(Open(path))(t)
	for n := 0; ; n++ {
		uid := "1.2." + strconv.Itoa(os.Getpid()) + "." + strconv.Itoa(n)
		c := must(s.Receive(uid, time.Now()))(t)
		must(s.Queue(uid, 30, "quiet 5s", time.Now()))(t)
		must(s.Begin(c.ID, 1, time.Now()))(t)
		if err := s.Finish(c.ID, 1, Conclusion{Finding: analyzed, Deliveries: results(uid, "PACS")}, time.Now()); err != nil {
			t.Fatal(err)
		}
		fmt.Println("finished", uid)
	}
}
