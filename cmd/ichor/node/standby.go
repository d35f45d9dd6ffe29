package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"ichor/pipeline/assembly"
	"ichor/pipeline/queue"
	"ichor/reporting/web"
	"ichor/scp/spool"
)

// reopenPause is the time between two attempts to open the state folder.
const reopenPause = 2 * time.Second

// errOpened ends the servers of standBy.
var errOpened = errors.New("state folder opened")

// standBy tries to open the state folder until it succeeds, or until ctx is done. Meanwhile senders are answered: C-ECHO with
// success, C-STORE with A700H, and the web interface says the cause. It returns errors that waiting cannot fix.
func (n *Node) standBy(ctx context.Context) error {
	var cause atomic.Pointer[error]
	cause.Store(&n.blocked)
	why := func() error { return *cause.Load() }
	objects := spool.Unavailable(why)
	server, err := n.newServer(objects, assembly.New(assembly.Options{}), nil)
	if err != nil {
		return err
	}
	n.log.Error("the state folder is not open, senders get status A700H until it is", "err", why())
	// The servers close their listeners at the end, so they get duplicates.
	lent, err := n.dicom.duplicate()
	if err != nil {
		return err
	}
	var page net.Listener
	if n.http != nil {
		if page, err = duplicate(n.http); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Serve(ctx, lent.secured()...) })
	g.Go(func() error { return n.watchdog(ctx, func() error { return nil }) })
	if page != nil {
		g.Go(func() error { return n.serveHTTP(ctx, page, web.NotReady(why)) })
	}
	g.Go(func() error {
		tick := time.NewTicker(reopenPause)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			err := n.open(ctx)
			switch {
			case err == nil:
				return errOpened
			case ctx.Err() != nil:
				return nil
			case !queue.DiskTrouble(err):
				return err
			}
			if err.Error() != why().Error() {
				n.log.Error("the state folder still cannot be opened", "err", err)
			}
			cause.Store(&err)
		}
	})
	if err := g.Wait(); !errors.Is(err, errOpened) {
		return err
	}
	n.blocked = nil
	return nil
}

// duplicate returns listeners on the same ports, which stay open when these are closed.
func (p ports) duplicate() (_ ports, err error) {
	out := make(ports, len(p))
	for i, x := range p {
		if out[i].Listener, err = duplicate(x.Listener); err != nil {
			return nil, err
		}
		out[i].tls = x.tls
	}
	return out, nil
}

func duplicate(ln net.Listener) (net.Listener, error) {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("%s is not a TCP socket", ln.Addr())
	}
	file, err := tcp.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return net.FileListener(file)
}
