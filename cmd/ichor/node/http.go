package node

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"ichor/reporting/web"
)

// httpGrace is how long running requests may take when the node stops.
const httpGrace = 5 * time.Second

func (n *Node) web() http.Handler {
	return web.New(web.Options{Cases: n.store, Operator: n, Token: n.config.HTTP.Token, Ready: n.Ready, TurnedAway: n.turned.newest, Peers: n.peers,
		Workers: n.workers, Metrics: n.observer})
}

func (n *Node) serveHTTP(ctx context.Context) error {
	return serveUntil(ctx, &http.Server{Handler: n.web(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}, n.http)
}

// serveUntil serves until ctx is done. Requests that then take longer than httpGrace are aborted.
func serveUntil(ctx context.Context, server *http.Server, l net.Listener) error {
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
	err := server.Serve(l)
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("web interface: %w", err)
	}
	return <-stopped
}

// quietLog is for errors of single connections, which anyone can cause.
func quietLog(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelDebug) }
