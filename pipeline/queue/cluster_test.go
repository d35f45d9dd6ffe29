package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"ichor/scp/scptest"
)

// cluster is three servers made from the file that is shipped for operators.
type cluster struct {
	t       *testing.T
	options [3]*server.Options
	servers [3]*server.Server
	url     string
	access  Options // URL, certificate and replicas for nodes and workers
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	shipped, err := os.ReadFile("../../systemd/nats/nats-server.conf")
	if err != nil {
		t.Fatal(err)
	}
	ca := scptest.NewAuthority(t)
	ours, theirs := ca.Valid("node1"), ca.Valid("server")
	c := &cluster{t: t}
	var routes []string
	for range c.servers {
		routes = append(routes, fmt.Sprint(freePort(t)))
	}
	var urls []string
	for i := range c.servers {
		text := string(shipped)
		edit := func(old, to string) {
			t.Helper()
			if !strings.Contains(text, old) {
				t.Fatalf("nats-server.conf has no %q", old)
			}
			text = strings.ReplaceAll(text, old, to)
		}
		port := freePort(t)
		urls = append(urls, fmt.Sprintf("tls://127.0.0.1:%d", port))
		edit("server_name: nats1", fmt.Sprint("server_name: nats", i+1))
		edit("0.0.0.0:4222", fmt.Sprint("127.0.0.1:", port))
		edit("http: 127.0.0.1:8222", "")
		edit("/var/lib/nats", t.TempDir())
		edit("0.0.0.0:6222", "127.0.0.1:"+routes[i])
		for j, route := range routes {
			edit(fmt.Sprintf("nats%d.example.org:6222", j+1), "127.0.0.1:"+route)
		}
		edit("/etc/nats/server.pem", theirs.File)
		edit("/etc/nats/server.key", theirs.Key)
		edit("/etc/nats/ca.pem", ca.CA)
		file := filepath.Join(t.TempDir(), "nats-server.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c.options[i], err = server.ProcessConfigFile(file); err != nil {
			t.Fatal(err)
		}
		if !c.options[i].SyncAlways {
			t.Error("the shipped file does not sync")
		}
		c.options[i].NoSigs, c.options[i].NoLog = true, true
	}
	for i := range c.servers {
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.kill(i)
		}
	})
	c.url = strings.Join(urls, ",")
	c.access = Options{URL: c.url, Replicas: 3, CA: ca.CA, Certificate: ours.File, Key: ours.Key}
	eventually(t, "the cluster has a leader", func() bool { return c.leader() >= 0 })
	return c
}

func (c *cluster) start(i int) {
	c.t.Helper()
	s, err := server.NewServer(c.options[i])
	if err != nil {
		c.t.Fatal(err)
	}
	s.Start()
	c.servers[i] = s
}

// kill ends a server; what it has not written is lost.
func (c *cluster) kill(i int) {
	if s := c.servers[i]; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		c.servers[i] = nil
	}
}

// leader returns the server that leads the cluster, -1 if none does.
func (c *cluster) leader() int {
	for i, s := range c.servers {
		if s != nil && s.JetStreamIsLeader() {
			return i
		}
	}
	return -1
}

// streamLeader returns the server that leads the stream of jobs, -1 if none does.
func (c *cluster) streamLeader(q *Queue) int {
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
	defer cancel()
	info, err := q.link.Load().jobs.Info(ctx)
	if err != nil || info.Cluster == nil {
		return -1
	}
	for i := range c.servers {
		if info.Cluster.Leader == fmt.Sprint("nats", i+1) {
			return i
		}
	}
	return -1
}

// TestClusterLosesAServer: three servers from the shipped file, with TLS and a certificate for each user. One of them is killed
// under load, then another, the leader of the jobs each time. No job is lost, nodes and workers continue by themselves, and the
// lease stays with its node or comes back to it.
func TestClusterLosesAServer(t *testing.T) {
	c := startCluster(t)
	o := c.access
	o.AckWait = 5 * time.Second
	o.Serves = "https://node"
	q := start(t, o)
	if r := q.link.Load().jobs.CachedInfo().Config.Replicas; r != 3 {
		t.Fatalf("%d replicas", r)
	}
	p, err := q.NewPair(PairOptions{Name: "ct", Lease: 5 * time.Second, Keep: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	paired := make(chan struct{})
	go func() { p.Run(ctx); close(paired) }()
	t.Cleanup(func() { stop(); <-paired })

	const all = 60
	var mu sync.Mutex
	done := map[string]int{}
	handle := func(_ context.Context, j Job) error {
		time.Sleep(20 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		done[j.StudyInstanceUID]++
		return nil
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(done) }
	work(t, q, 1, handle)
	far, err := Pull(c.access, PullOptions{Agree: func(context.Context, Origin) error { return nil },
		Analyse: func(ctx context.Context, _ Origin, j Job) error { return handle(ctx, j) }})
	if err != nil {
		t.Fatal(err)
	}
	farCtx, farStop := context.WithCancel(context.Background())
	farEnded := make(chan error, 1)
	go func() { farEnded <- far.Work(farCtx, 1) }()
	t.Cleanup(func() {
		farStop()
		if err := errors.Join(<-farEnded, far.Close()); err != nil {
			t.Error(err)
		}
	})
	submitted := make(chan struct{})
	go func() {
		defer close(submitted)
		for n := range all {
			for t.Context().Err() == nil { // as a node does: until the queue has it
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				err := q.Submit(ctx, job(n))
				cancel()
				if err == nil {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
	}()
	for _, at := range []int{all / 4, all / 2} {
		eventually(t, "under load", func() bool { return count() >= at })
		var victim int
		eventually(t, "the stream has a leader", func() bool { victim = c.streamLeader(q); return victim >= 0 })
		t.Logf("%d of %d done: server %d, the leader, is killed", count(), all, victim+1)
		c.kill(victim)
		eventually(t, "goes on", func() bool { return count() > at+2 })
		c.start(victim)
		eventually(t, "whole again", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			info, err := q.link.Load().jobs.Info(ctx)
			if err != nil || info.Cluster == nil {
				return false
			}
			for _, r := range info.Cluster.Replicas {
				if !r.Current || r.Offline {
					return false
				}
			}
			return len(info.Cluster.Replicas) == 2
		})
	}
	<-submitted
	eventually(t, "all done", func() bool { return count() == all })
	eventually(t, "the queue is empty", func() bool {
		s, err := q.Stats(t.Context())
		return err == nil && s == Stats{}
	})
	eventually(t, "the lease is held", holds(p))
	twice := 0
	for _, n := range done {
		if n > 1 {
			twice++
		}
	}
	t.Logf("%d jobs done, %d of them more than once", len(done), twice)
}

// TestClusterRefuses: a node without a certificate of the authority gets no connection, and the error names the file to check.
func TestClusterRefuses(t *testing.T) {
	c := startCluster(t)
	o := c.access
	o.Node = "n1"
	o.Certificate, o.Key = "", ""
	if q, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "check queue.url and the files in queue") {
		t.Errorf("%v, %v", q, err)
	}
	o.CA = filepath.Join(t.TempDir(), "none.pem")
	if q, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "none.pem") {
		t.Errorf("%v, %v", q, err)
	}
}

// TestCredentials: a user of an operator logs in with its credentials file.
func TestCredentials(t *testing.T) {
	t.Parallel()
	key := func(make func() (nkeys.KeyPair, error)) (pair nkeys.KeyPair, public string) {
		t.Helper()
		pair, err := make()
		if err == nil {
			public, err = pair.PublicKey()
		}
		if err != nil {
			t.Fatal(err)
		}
		return pair, public
	}
	sign := func(c interface {
		Encode(nkeys.KeyPair) (string, error)
	}, by nkeys.KeyPair) string {
		t.Helper()
		token, err := c.Encode(by)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	operator, operatorID := key(nkeys.CreateOperator)
	_, systemID := key(nkeys.CreateAccount)
	account, accountID := key(nkeys.CreateAccount)
	user, userID := key(nkeys.CreateUser)
	claims := jwt.NewOperatorClaims(operatorID)
	claims.SystemAccount = systemID
	about := jwt.NewAccountClaims(accountID)
	about.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	conf := fmt.Sprintf("listen: 127.0.0.1:-1\njetstream {store_dir: %q}\noperator: %s\nresolver: MEMORY\nresolver_preload: {%s: %s, %s: %s}\n", t.TempDir(), sign(claims, operator),
		accountID, sign(about, operator), systemID, sign(jwt.NewAccountClaims(systemID), operator))
	file := filepath.Join(t.TempDir(), "nats-server.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("server not ready")
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(sign(jwt.NewUserClaims(userID), account), seed)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ichor.creds")
	if err := os.WriteFile(path, creds, 0o600); err != nil {
		t.Fatal(err)
	}
	if q, err := Start(t.Context(), Options{URL: s.ClientURL(), Node: "n1"}); err == nil {
		q.Close()
		t.Error("no credentials, and connected")
	}
	q := start(t, Options{URL: s.ClientURL(), Credentials: path})
	submit(t, q, job(1))
}

// TestOldServerIsRefused: nodes and workers end with a line that says what to do.
func TestOldServerIsRefused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // says that it is an older server, and answers PING
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "INFO {\"server_id\":\"X\",\"version\":\"2.12.3\",\"proto\":1,\"headers\":true,\"max_payload\":1048576}\r\n")
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				if lines.Text() == "PING" {
					fmt.Fprint(conn, "PONG\r\n")
				}
			}
			conn.Close()
		}
	}()
	url := "nats://" + l.Addr().String()
	_, ofNode := Start(t.Context(), Options{URL: url, Node: "n1"})
	_, ofWorker := Pull(Options{URL: url}, PullOptions{})
	for _, err := range []error{ofNode, ofWorker} {
		if err == nil || !strings.Contains(err.Error(), `it is nats-server "2.12.3"; ichor needs 2.14.6 or newer`) {
			t.Error(err)
		}
	}
}

// TestFloorIsDocumented: the version that is refused is the one that operators read.
func TestFloorIsDocumented(t *testing.T) {
	floor := regexp.MustCompile(`nats-server (\d+\.\d+\.\d+) or newer`)
	for _, name := range []string{"../../docs/cluster.md", "../../systemd/nats/nats-server.conf"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if m := floor.FindSubmatch(text); m == nil || string(m[1]) != Oldest {
			t.Errorf("%s names %q, not %s", name, m, Oldest)
		}
	}
	if err := checkVersion(server.VERSION); err != nil {
		t.Errorf("the embedded server: %v", err)
	}
}
