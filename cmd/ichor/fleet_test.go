package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"ichor/pipeline/state"
	"ichor/scp/dcm"
	"ichor/scp/receiver"
	"ichor/scp/scptest"
)

// fleet is two nodes of a pair, workers, NATS servers and a PACS on addresses of their own. Each is a process that can be killed
// and is then started again, as systemd does.
type fleet struct {
	t       *testing.T
	dir     string
	net     *network // nil: loopback, without partitions
	disks   *disks   // nil: no slow disks
	nats    []*member
	nodes   []*member
	workers []*member
	pacs    *archive
	ca      *scptest.Authority
	stop    func() // ends all in order
}

// member is one process of a fleet.
type member struct {
	name, host string
	make       func(ctx context.Context) *exec.Cmd
	config     string
	state      string
	log        scptest.Log
	net        *network
	disks      *disks

	mu    sync.Mutex
	cmd   *exec.Cmd
	held  bool // not started again until release
	ended chan struct{}
}

// restartPause is the time between the end of a process and its next start.
const restartPause = 500 * time.Millisecond

// run keeps the process running until ctx is done, then ends it in order.
func (m *member) run(ctx context.Context) {
	defer close(m.ended)
	for ctx.Err() == nil {
		m.mu.Lock()
		held := m.held
		if !held {
			m.cmd = m.make(ctx)
			m.cmd.Cancel, m.cmd.WaitDelay = func() error { return m.cmd.Process.Signal(syscall.SIGTERM) }, 40*time.Second
			m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
			if err := m.cmd.Start(); err != nil {
				fmt.Fprintln(&m.log, "not started:", err)
				held = true
			} else if err := m.disks.group(m.name, m.cmd.Process.Pid); err != nil {
				fmt.Fprintln(&m.log, "--- its disk is not made slow:", err)
			}
		}
		cmd := m.cmd
		m.mu.Unlock()
		if !held {
			err := cmd.Wait()
			fmt.Fprintf(&m.log, "--- ended: %v\n", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(restartPause):
		}
	}
}

// kill sends SIGKILL. hold: the process is not started again until release.
func (m *member) kill(hold bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = hold
	if m.cmd != nil && m.cmd.Process != nil {
		_ = m.cmd.Process.Kill() // gone already: also dead
	}
}

func (m *member) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = false
}

// said counts how often the log has a text.
func (m *member) said(text string) int { return strings.Count(m.log.String(), text) }

// ichor runs a command beside the member.
func (m *member) ichor(args ...string) (string, error) {
	out, err := m.net.command(context.Background(), m.name, binary, append(args, "--config", m.config)...).CombinedOutput()
	return string(out), err
}

// archive is a PACS that counts, and that can be restarted.
type archive struct {
	t       *testing.T
	address string
	dir     string
	each    func(receiver.Instance) // called for every object; may be nil

	mu     sync.Mutex
	r      *receiver.Receiver
	held   map[string]map[string]string // by study, SOP class by SOP instance
	times  map[string]int               // by SOP instance
	newest map[string]time.Time         // by study: when it got its last new object
}

func (a *archive) start() {
	r, err := receiver.Start(receiver.Options{AETitle: "PACS", Address: a.address, Dir: a.dir, Stored: a.stored})
	if err != nil {
		a.t.Error(err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.r = r
}

func (a *archive) receiver() *receiver.Receiver {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.r
}

func (a *archive) restart(pause time.Duration) {
	if err := a.receiver().Close(); err != nil {
		a.t.Error(err)
	}
	time.Sleep(pause)
	a.start()
}

func (a *archive) stored(i receiver.Instance) {
	f, err := readHeader(i.Path)
	if err != nil {
		a.t.Error(err)
		return
	}
	a.mu.Lock()
	if a.held[f.StudyInstanceUID] == nil {
		a.held[f.StudyInstanceUID] = map[string]string{}
	}
	if a.times[i.SOPInstanceUID]++; a.times[i.SOPInstanceUID] == 1 {
		a.newest[f.StudyInstanceUID] = time.Now()
	}
	a.held[f.StudyInstanceUID][i.SOPInstanceUID] = i.SOPClassUID
	a.mu.Unlock()
	if a.each != nil {
		a.each(i)
	}
}

// classes counts the objects of a study by SOP class.
func (a *archive) classes(study string) map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := map[string]int{}
	for _, class := range a.held[study] {
		n[class]++
	}
	return n
}

// oneSet says what is wrong with the results of a study, empty if they are one set.
func (a *archive) oneSet(study string) string {
	n := a.classes(study)
	if n[dcm.SegmentationStorage] == 1 && n[dcm.Comprehensive3DSRStorage] == 1 && n[dcm.SecondaryCaptureImageStorage] > 0 {
		return ""
	}
	return fmt.Sprintf("%d SEG, %d SC, %d SR", n[dcm.SegmentationStorage], n[dcm.SecondaryCaptureImageStorage], n[dcm.Comprehensive3DSRStorage])
}

// twice counts the objects that came more than once.
func (a *archive) twice() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, times := range a.times {
		if times > 1 {
			n++
		}
	}
	return n
}

// TestServeNATS is no test: it is the NATS server of a fleet, in a process of its own.
func TestServeNATS(t *testing.T) {
	file := os.Getenv("ICHOR_TEST_NATS")
	if file == "" {
		t.Skip("run by the tests of fleets")
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.ConfigureLogger()
	s.Start()
	s.WaitForShutdown() // after SIGTERM
}

// startFleet starts servers, nodes and workers. inNet: each in a network namespace and a control group of its own.
func startFleet(t *testing.T, servers, workers int, inNet bool) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir()}
	if inNet {
		f.net, f.disks = newNetwork(t), newDisks(t, f.dir)
	}
	f.ca = scptest.NewAuthority(t)
	host := func(name string) string { return f.net.host(t, name) }
	pacs := net.JoinHostPort(host("pacs"), freePort(t))
	f.pacs = &archive{t: t, address: pacs, dir: filepath.Join(f.dir, "pacs"), held: map[string]map[string]string{}, times: map[string]int{}, newest: map[string]time.Time{}}
	add := func(list *[]*member, name string) *member {
		m := &member{name: name, host: host(name), net: f.net, disks: f.disks, ended: make(chan struct{}), config: filepath.Join(f.dir, name+".yaml"), state: filepath.Join(f.dir, name)}
		*list = append(*list, m)
		return m
	}
	for i := range servers {
		add(&f.nats, fmt.Sprint("nats", i+1))
	}
	for i := range 2 {
		add(&f.nodes, fmt.Sprint("node", i+1))
	}
	for i := range workers {
		add(&f.workers, fmt.Sprint("worker", i+1))
	}
	for _, m := range slices.Concat(f.nats, f.nodes, f.workers) {
		f.ca.Addresses = append(f.ca.Addresses, net.ParseIP(m.host))
	}
	url := f.configureNATS()
	f.configureNodes(url)
	f.configureWorkers(url)
	f.pacs.start()
	ctx, cancel := context.WithCancel(context.Background())
	all := slices.Concat(f.nats, f.nodes, f.workers)
	for _, m := range all {
		go m.run(ctx)
	}
	f.stop = sync.OnceFunc(func() {
		cancel()
		for _, m := range all {
			<-m.ended
		}
		if err := f.pacs.receiver().Close(); err != nil {
			t.Error(err)
		}
		if folder := os.Getenv("ICHOR_TEST_LOGS"); folder != "" {
			for _, m := range all {
				if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, m.name+".log"), []byte(m.log.String()), 0o644)); err != nil {
					t.Error(err)
				}
			}
		}
		if t.Failed() {
			for _, m := range slices.Concat(f.nodes, f.workers) {
				text := m.log.String()
				t.Logf("%s:\n%s", m.name, text[max(0, len(text)-6000):])
			}
		}
	})
	t.Cleanup(f.stop)
	for _, m := range slices.Concat(f.nodes, f.workers) {
		f.until(m.name+" is ready", func() bool { return m.said("msg=ready") > 0 })
	}
	return f
}

// freePort is a port that no other program of this machine uses on any address.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// configureNATS writes the shipped configuration with the addresses of this fleet, and returns the URL for nodes and workers.
func (f *fleet) configureNATS() string {
	f.t.Helper()
	shipped, err := os.ReadFile("../../systemd/nats/nats-server.conf")
	if err != nil {
		f.t.Fatal(err)
	}
	theirs := f.ca.Valid("server")
	var urls, routes []string
	for range f.nats {
		routes = append(routes, freePort(f.t))
	}
	for i, m := range f.nats {
		port := freePort(f.t)
		urls = append(urls, "tls://"+net.JoinHostPort(m.host, port))
		edit := []string{"server_name: nats1", "server_name: " + m.name, "0.0.0.0:4222", net.JoinHostPort(m.host, port), "http: 127.0.0.1:8222", "",
			"/var/lib/nats", m.state, "0.0.0.0:6222", net.JoinHostPort(m.host, routes[i]), "/etc/nats/server.pem", theirs.File, "/etc/nats/server.key", theirs.Key, "/etc/nats/ca.pem", f.ca.CA}
		for j, other := range f.nats {
			edit = append(edit, fmt.Sprintf("nats%d.example.org:6222", j+1), net.JoinHostPort(other.host, routes[j]))
		}
		text := strings.NewReplacer(edit...).Replace(string(shipped))
		if len(f.nats) == 1 {
			text, _, _ = strings.Cut(text, "\ncluster {")
		}
		f.write(m.config, text)
		m.make = func(ctx context.Context) *exec.Cmd {
			c := m.net.command(ctx, m.name, os.Args[0], "-test.run=^TestServeNATS$")
			c.Env = append(os.Environ(), "ICHOR_TEST_NATS="+m.config)
			return c
		}
	}
	return strings.Join(urls, ",")
}

func (f *fleet) write(path, text string) {
	f.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// common is the part of the configuration that nodes and workers share.
func (f *fleet) common(url, name string) string {
	c := f.ca.Valid(name)
	return fmt.Sprintf("queue: {url: %q, replicas: %d, ca: %s, certificate: %s, key: %s, ack_wait: 10s}\n", url, len(f.nats), f.ca.CA, c.File, c.Key)
}

func (f *fleet) configureNodes(url string) {
	for i, m := range f.nodes {
		c := f.ca.Valid(m.name)
		local := 1
		if i > 0 && len(f.workers) > 0 || os.Getenv("ICHOR_TEST_SCALE") != "" {
			local = 0 // a pure receiver
		}
		text := f.common(url, m.name) + fmt.Sprintf("state: %s\ncanary: {start: false, at: \"\"}\ndicom: {listen: %q, reserve_mib: 16, prepared_mib: 64, peers: [{ae_title: TEST}]}\n"+
			"http: {listen: %q}\nassembly: {quiet_period: 2s}\nanalysis: {bundle: %s, library: %s, workers: %d, max_tries: 1000}\n"+
			"delivery: {first_retry: 50ms, max_retry: 1s}\ndestinations: [{name: pacs, address: %q, ae_title: PACS}]\npair: {name: ct, lease: 5s, wait: 2m}\n"+
			"workers: {listen: %q, url: %q, certificate: %s, key: %s, ca: %s}\n",
			m.state, net.JoinHostPort(m.host, "11112"), f.http(m), shippedBundle(f.t), library(f.t), local, f.pacs.address,
			net.JoinHostPort(m.host, "8443"), "https://"+m.host, c.File, c.Key, f.ca.CA)
		f.write(m.config, text)
		m.make = func(ctx context.Context) *exec.Cmd {
			return m.standIn(ctx, "serve")
		}
	}
}

// http is the address of the web interface: in a namespace its own loopback.
func (f *fleet) http(m *member) string {
	if f.net != nil {
		return "127.0.0.1:8080"
	}
	return net.JoinHostPort(m.host, "8080")
}

func (f *fleet) configureWorkers(url string) {
	for _, m := range f.workers {
		c := f.ca.Valid("worker1") // the user of the shipped file
		f.write(m.config, f.common(url, "worker1")+fmt.Sprintf("http: {listen: \"\"}\nanalysis: {bundle: %s, library: %s, max_tries: 1000}\nworkers: {certificate: %s, key: %s, ca: %s}\n",
			shippedBundle(f.t), library(f.t), c.File, c.Key, f.ca.CA))
		m.make = func(ctx context.Context) *exec.Cmd {
			return m.standIn(ctx, "worker")
		}
	}
}

func (f *fleet) until(what string, ok func() bool) {
	f.t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Since(begun) > 2*patience {
			f.t.Fatalf("never: %s", what)
		}
	}
}

// sendTo sends a study to a node until all of it is acknowledged, as a router does: what was acknowledged is not sent again.
func (f *fleet) sendTo(ctx context.Context, m *member, files []dicomFile, acknowledged func(dicomFile)) error {
	p := peerFlags{called: "ICHOR", calling: "TEST", timeout: patience}
	for len(files) > 0 && ctx.Err() == nil {
		if err := p.send(ctx, net.JoinHostPort(m.host, "11112"), files[:1]); err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(restartPause):
			}
			continue
		}
		acknowledged(files[0])
		files = files[1:]
	}
	return ctx.Err()
}

// settled reports whether a node has analysed a study of so many objects, and all its results are stored.
func (m *member) settled(study string, objects int) (bool, string) {
	out, err := m.ichor("status", string(state.IDOf(study)))
	return err == nil && strings.Contains(out, fmt.Sprintf("%d objects", objects)) && strings.Contains(out, ": analyzed") &&
		strings.Contains(out, "pacs: stored") && !strings.Contains(out, "pacs: pending") && !strings.Contains(out, "pacs: dead"), out
}

// check stops the fleet and looks for acknowledged objects in the spools, and for one set of results of each study at the PACS. It
// returns how many acknowledged objects are lost.
func (f *fleet) check(studies [][]dicomFile, acknowledged []map[string]bool) (lost int) {
	f.t.Helper()
	f.stop()
	for i, m := range f.nodes {
		lost += missing(f.t, m.state, acknowledged[i])
	}
	if lost > 0 {
		f.t.Errorf("%d objects were acknowledged and are lost", lost)
	}
	known := map[string]bool{}
	for _, files := range studies {
		study := files[0].StudyInstanceUID
		known[study] = true
		if wrong := f.pacs.oneSet(study); wrong != "" {
			f.t.Errorf("case %s: %s", state.IDOf(study), wrong)
		}
	}
	for _, study := range slices.Sorted(maps.Keys(f.pacs.held)) {
		if !known[study] {
			f.t.Error("results of a study that nobody sent")
		}
	}
	return lost
}
