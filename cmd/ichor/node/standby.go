package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"ichor/pipeline/assembly"
	"ichor/pipeline/queue"
	"ichor/reporting/web"
	"ichor/scp/spool"
)

// reopenPause is the time between two attempts to open the state folder.
const reopenPause = 2 * time.Second

// errOpened ends the server of standBy.
var errOpened = errors.New("state folder opened")

// standBy tries to open the state folder until it succeeds, or until ctx is done. Meanwhile senders are answered: C-ECHO with
// success, C-STORE with A700H, and the web interface, which Run serves, says the cause. It returns errors that waiting cannot fix.
func (n *Node) standBy(ctx context.Context) error {
	objects := spool.Unavailable(n.Ready)
	server, err := n.newServer(objects, assembly.New(assembly.Options{}), nil)
	if err != nil {
		return err
	}
	n.log.Error("the state folder is not open, senders get status A700H until it is", "err", n.Ready())
	announce(n.log, "STATUS="+n.status())
	// The server closes its listeners at the end, so it gets duplicates.
	lent, err := n.dicom.duplicate()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Serve(ctx, lent.secured()...) })
	g.Go(func() error { return n.watchdog(ctx, func() error { return nil }) })
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
			changed := err.Error() != n.Ready().Error()
			n.blocked.Store(&err)
			if changed {
				n.log.Error("the state folder still cannot be opened", "err", err)
				announce(n.log, "STATUS="+n.status())
			}
		}
	})
	if err := g.Wait(); !errors.Is(err, errOpened) {
		return err
	}
	n.show(n.web())
	n.blocked.Store(nil)
	return nil
}

// standByPages is what the web interface needs while the state is not open.
func (n *Node) standByPages() web.Options {
	proxies, _ := n.config.HTTP.ProxyPrefixes() // Validate has rejected invalid ones
	return web.Options{
		Token: n.token, UserHeader: n.config.HTTP.UserHeader, Proxies: proxies,
		Ready: n.Ready, TurnedAway: n.turned.newest, Denied: n.wrongToken, Metrics: n.observer,
		Node: func() web.Node { return n.describe(n.standByAlarms(), nil) },
	}
}

func (n *Node) standByAlarms() []web.Alarm {
	list := append(stateAlarms(n.Ready(), n.started), n.commonAlarms(now())...)
	sortAlarms(list)
	return list
}

// stateAlarms tells that the state folder cannot be opened.
func stateAlarms(why error, since time.Time) []web.Alarm {
	if why == nil { // it has just been opened
		return nil
	}
	return []web.Alarm{{Name: "disk", Severity: web.Critical, Text: "the state folder is not open, and objects are refused (A700H): " + why.Error(), Since: since,
		Remedy: "free disk space, or make the folder writable; the node tries again every two seconds and needs no restart"}}
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
