package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"ichor/reporting/web"
)

// httpGrace is how long running requests may take when the node stops.
const httpGrace = 5 * time.Second

func (n *Node) web() http.Handler {
	return web.New(web.Options{Cases: n.store, Operator: n, Token: n.config.HTTP.Token, Ready: n.Ready, TurnedAway: n.turned.newest, Peers: n.peers, Metrics: n.observer})
}

// serveHTTP serves until ctx is done. Requests that then take longer than httpGrace are aborted.
func (n *Node) serveHTTP(ctx context.Context) error {
	server := &http.Server{Handler: n.web(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
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
	err := server.Serve(n.http)
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("web interface: %w", err)
	}
	return <-stopped
}
