package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"ichor/cmd/ichor/load"
	"ichor/pipeline/state"
	"ichor/scp/dcm"
)

// shortCampaign is how many nodes and workers TestCampaign kills; 'make campaign' makes more of it, and 'make soak' a run of so
// many minutes.
const shortCampaign = 5

// campaign is a run of TestCampaign, and its result: what docs/reliability.md is made from.
type campaign struct {
	What       string         `json:"what"` // campaign, soak
	Date       string         `json:"date"`
	Seed       uint64         `json:"seed"`
	Seconds    int            `json:"seconds"`
	Networks   string         `json:"networks"`             // of the analysis: stand-in, shipped
	Rate       float64        `json:"rate_per_hour"`        // of studies; 0: the next study comes when few wait
	Kills      map[string]int `json:"kills"`                // by kind of process
	Partitions map[string]int `json:"partitions"`           // cables pulled, by kind of process
	SlowDisks  map[string]int `json:"slow_disks,omitempty"` // disks that were slow for some seconds, by kind of process
	Studies    int            `json:"studies"`
	Objects    int            `json:"objects"` // received and acknowledged, by both nodes together
	Results    int            `json:"results"` // objects at the PACS
	Lost       int            `json:"lost"`    // acknowledged objects that are in no spool
	Wrong      int            `json:"wrong"`   // studies with another number of sets than one
	Twice      int            `json:"twice"`   // result objects that the PACS got more than once
	Unsettled  int            `json:"unsettled"`
	P50        float64        `json:"p50_seconds"` // from the last object to the last result
	Max        float64        `json:"max_seconds"`
}

func ofEnvironment(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestCampaign kills nodes of a pair, workers, NATS servers and the PACS at random, and pulls their cables, while studies arrive.
// At the end no acknowledged object is lost, the PACS has one set of results of each study, and both nodes say so.
//
//	ICHOR_TEST_KILLS    so many kills of nodes and workers, the next study comes when few wait
//	ICHOR_TEST_MINUTES  for so long, studies arrive at ICHOR_TEST_RATE an hour
//	ICHOR_TEST_SEED     of the choices; ICHOR_TEST_RESULT: file for the result; ICHOR_TEST_LOGS: folder for the logs
func TestCampaign(t *testing.T) {
	kills, minutes := ofEnvironment(t, "ICHOR_TEST_KILLS", shortCampaign), ofEnvironment(t, "ICHOR_TEST_MINUTES", 0)
	c := &campaign{What: "campaign", Date: time.Now().UTC().Format(time.DateOnly), Seed: uint64(ofEnvironment(t, "ICHOR_TEST_SEED", 1)), Networks: "stand-in", Kills: map[string]int{}, Partitions: map[string]int{}, SlowDisks: map[string]int{}}
	if os.Getenv("ICHOR_TEST_NETWORKS") != "" {
		c.Networks = "shipped"
	}
	if minutes > 0 {
		c.What, c.Rate = "soak", float64(ofEnvironment(t, "ICHOR_TEST_RATE", 104)) // ten times the peak of a trauma centre
	} else if kills == shortCampaign {
		t.Parallel()
	}
	full := minutes > 0 || kills > shortCampaign
	f := startFleet(t, 3, 2, full)
	r := &ongoing{fleet: f, c: c, random: rand.New(rand.NewPCG(c.Seed, 1)), start: time.Now(), acknowledged: []map[string]bool{{}, {}}, sent: map[string]time.Time{}}
	t.Logf("%s with seed %d", c.What, c.Seed)
	ctx, stop := context.WithCancel(t.Context())
	arriving := make(chan struct{})
	go func() { defer close(arriving); r.arrive(ctx) }()
	for n := 0; minutes > 0 && time.Since(r.start) < time.Duration(minutes)*time.Minute || minutes == 0 && r.c.Kills["node"]+r.c.Kills["worker"] < kills; n++ {
		pause := time.Second + time.Duration(r.random.IntN(5000))*time.Millisecond
		if minutes > 0 {
			pause *= 3
		}
		time.Sleep(pause)
		r.harm()
		if n%20 == 19 {
			t.Logf("%v: %d harms, %d studies", time.Since(r.start).Round(time.Second), n+1, r.count())
		}
	}
	stop()
	<-arriving
	r.harms.Wait()
	r.sending.Wait()
	r.finish()
}

// ongoing is a campaign that runs.
type ongoing struct {
	*fleet
	c       *campaign
	random  *rand.Rand // of harm
	start   time.Time
	natsAt  time.Time // when a NATS server was last harmed
	harms   sync.WaitGroup
	sending sync.WaitGroup

	mu           sync.Mutex
	studies      [][]dicomFile
	acknowledged []map[string]bool    // by node
	sent         map[string]time.Time // by study: when the first node had all of it
}

func (r *ongoing) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.studies)
}

// waiting counts the studies without results.
func (r *ongoing) waiting() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, files := range r.studies {
		if r.pacs.classes(files[0].StudyInstanceUID)[dcm.Comprehensive3DSRStorage] == 0 {
			n++
		}
	}
	return n
}

// arrive sends studies to both nodes until ctx is done.
func (r *ongoing) arrive(ctx context.Context) {
	if r.c.Rate == 0 {
		for ctx.Err() == nil {
			if r.waiting() < 3 {
				r.send()
			}
			time.Sleep(100 * time.Millisecond)
		}
		return
	}
	for _, a := range (load.Plan{Pattern: load.Poisson, Studies: 100000, Rate: r.c.Rate, Size: 1, Speed: 1, Senders: 1, Seed: r.c.Seed}).Arrivals() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(r.start.Add(a.At))):
			r.send()
		}
	}
}

func (r *ongoing) send() {
	files := shortStudy(r.t)
	r.mu.Lock()
	r.studies = append(r.studies, files)
	r.mu.Unlock()
	for i, m := range r.nodes {
		r.sending.Go(func() {
			if err := r.sendTo(r.t.Context(), m, files, func(o dicomFile) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.acknowledged[i][o.SOPInstanceUID] = true
			}); err != nil {
				return
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if study := files[0].StudyInstanceUID; r.sent[study].IsZero() {
				r.sent[study] = time.Now()
			}
		})
	}
}

// harm kills one member, pulls its cable for some seconds, or makes its disk slow for twice as long. Of three NATS servers one at a
// time is harmed.
func (r *ongoing) harm() {
	kind := []string{"node", "node", "node", "worker", "worker", "worker", "nats", "pacs"}[r.random.IntN(8)]
	cut := r.net != nil && r.random.IntN(4) == 0
	slow := !cut && r.disks != nil && r.random.IntN(3) == 0
	which, length := r.random.IntN(12), 2*time.Second+time.Duration(r.random.IntN(10000))*time.Millisecond
	if kind == "nats" {
		if time.Since(r.natsAt) < 30*time.Second {
			kind = "worker"
		} else {
			r.natsAt = time.Now()
		}
	}
	if kind == "pacs" {
		r.c.Kills[kind]++
		r.pacs.restart(length / 4)
		return
	}
	list := map[string][]*member{"node": r.nodes, "worker": r.workers, "nats": r.nats}[kind]
	m := list[which%len(list)]
	if slow && kind != "worker" { // a worker keeps nothing
		r.c.SlowDisks[kind]++
		r.disks.slow(m.name, true)
		r.harms.Go(func() {
			time.Sleep(2 * length)
			r.disks.slow(m.name, false)
		})
		return
	}
	if !cut {
		r.c.Kills[kind]++
		m.kill(false)
		return
	}
	r.c.Partitions[kind]++
	r.net.cut(m.name, true)
	r.harms.Go(func() {
		time.Sleep(length)
		r.net.cut(m.name, false)
	})
}

// finish waits for all results, looks for what is lost or wrong, and writes the result.
func (r *ongoing) finish() {
	t, c := r.t, r.c
	t.Helper()
	for last, since := r.waiting(), time.Now(); last > 0 && time.Since(since) < patience; time.Sleep(200 * time.Millisecond) {
		if n := r.waiting(); n < last {
			last, since = n, time.Now()
		}
	}
	for _, m := range r.nodes {
		for _, files := range r.studies {
			study, out, ok := files[0].StudyInstanceUID, "", false
			for begun := time.Now(); !ok && time.Since(begun) < patience; time.Sleep(200 * time.Millisecond) {
				if ok, out = m.settled(study, len(files)); ok {
					break
				}
			}
			if !ok {
				c.Unsettled++
				t.Errorf("%s, case %s is not settled:\n%s", m.name, state.IDOf(study), out)
			}
		}
	}
	c.Seconds = int(time.Since(r.start).Seconds())
	c.Lost = r.check(r.studies, r.acknowledged)
	var took []float64
	for _, files := range r.studies {
		study := files[0].StudyInstanceUID
		if r.pacs.oneSet(study) != "" {
			c.Wrong++
		}
		took = append(took, r.pacs.newest[study].Sub(r.sent[study]).Seconds())
		c.Results += len(r.pacs.held[study])
	}
	slices.Sort(took)
	c.Studies, c.Twice = len(r.studies), r.pacs.twice()
	c.Objects = len(r.acknowledged[0]) + len(r.acknowledged[1])
	if len(took) > 0 {
		c.P50, c.Max = took[len(took)/2], took[len(took)-1]
	}
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", raw)
	if c.Studies == 0 || c.Results == 0 {
		t.Error("nothing was analysed")
	}
	if file := os.Getenv("ICHOR_TEST_RESULT"); file != "" {
		if err := os.WriteFile(file, append(raw, '\n'), 0o644); err != nil {
			t.Error(err)
		}
	}
}
