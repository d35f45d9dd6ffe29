package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"ichor/reporting/web"
)

const (
	httpGrace = 5 * time.Second  // how long running requests may take when the node stops
	readTime  = 15 * time.Second // for a request with its body
	writeTime = 2 * time.Minute  // from the request to the end of the answer
)

func (n *Node) web() http.Handler {
	proxies, _ := n.config.HTTP.ProxyPrefixes() // Validate has rejected invalid ones
	return web.New(web.Options{
		Cases: n.store, Operator: n, Token: n.token, UserHeader: n.config.HTTP.UserHeader, Proxies: proxies,
		Ready: n.Ready, TurnedAway: n.turned.newest, Node: n.info, Peers: n.peers, Workers: n.workers, Metrics: n.observer,
		Denied: n.wrongToken, Looked: n.looked, Gave: n.ordered, Backup: n.logBackup,
	})
}

// show changes what the web interface shows: that of a node that waits for its disk, that of one that works, or, after a
// reload, one with another token. One server shows them all, since a server that is shut down drops requests it has just read.
func (n *Node) show(h http.Handler) { n.handler.Store(&h) }

// shown serves what was given to show last.
func (n *Node) shown() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*n.handler.Load()).ServeHTTP(w, r) })
}

func (n *Node) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: readTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: quietLog(n.log),
	}
}

func (n *Node) serveHTTP(ctx context.Context, ln net.Listener, h http.Handler) error {
	ln = &crowd{Listener: ln, most: n.config.HTTP.MaxConnections, of: map[string]int{}}
	if n.config.HTTP.TLS {
		ln = tls.NewListener(ln, n.credentials.Web())
	}
	return serveUntil(ctx, n.httpServer(h), ln)
}

// serveUntil serves until ctx is done. Requests that then take longer than httpGrace are aborted.
func serveUntil(ctx context.Context, server *http.Server, ln net.Listener) error {
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpGrace)
		defer cancel()
		err := server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		stopped <- err
	})
	err := server.Serve(ln)
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("web interface: %w", err)
	}
	return <-stopped
}

// quietLog is for errors of single connections, which anyone can cause: port scanners, browsers that do not trust the certificate.
func quietLog(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelDebug) }

// crowd is a listener that accepts at most most connections at a time, and half of them from one address. It closes others at
// once: DICOM and the rest of the node keep their file descriptors.
type crowd struct {
	net.Listener
	most int

	mu  sync.Mutex
	all int
	of  map[string]int // by address
}

// Accept returns the next connection for which there is room.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		if c.enter(address) {
			return &guest{Conn: conn, leave: sync.OnceFunc(func() { c.leave(address) })}, nil
		}
		_ = conn.Close() // nothing was read or written
	}
}

func (c *crowd) enter(address string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= c.most || c.of[address] >= (c.most+1)/2 {
		return false
	}
	c.all++
	c.of[address]++
	return true
}

func (c *crowd) leave(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.of[address]--; c.of[address] == 0 {
		delete(c.of, address)
	}
}

// guest is a connection that counts.
type guest struct {
	net.Conn
	leave func()
}

// Close closes the connection and makes room for another.
func (g *guest) Close() error {
	g.leave()
	return g.Conn.Close()
}
