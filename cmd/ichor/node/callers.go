package node

import (
	"errors"
	"slices"
	"sync"
	"time"

	"ichor/reporting/web"
	"ichor/scp"
	"ichor/scp/ul"
)

// mostCallers bounds the rejected callers that are remembered.
const mostCallers = 100

// callers remembers since the start when configured peers called, and who was rejected. The zero value knows no peer.
type callers struct {
	mu   sync.Mutex
	list []web.Caller // of the configuration
	away []web.Caller
}

// expect adds a configured peer.
func (c *callers) expect(title string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.ContainsFunc(c.list, func(x web.Caller) bool { return x.AETitle == title }) {
		c.list = append(c.list, web.Caller{AETitle: title})
	}
}

func (c *callers) received(e scp.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e.Kind {
	case scp.Accepted:
		if i := slices.IndexFunc(c.list, func(x web.Caller) bool { return x.AETitle == e.Peer }); i >= 0 {
			c.list[i].Times++
			c.list[i].Last, c.list[i].Address = e.Time.UTC(), addressOf(e)
		}
	case scp.Rejected:
		if r := new(ul.RejectError); errors.As(e.Err, &r) && r.Reason == ul.ReasonLocalLimit && r.Source == ul.RejectSourcePresentation {
			return // transient: the peer tries again
		}
		address := addressOf(e)
		i := slices.IndexFunc(c.away, func(x web.Caller) bool { return x.AETitle == e.Peer && x.Address == address })
		if i < 0 {
			if len(c.away) >= mostCallers {
				oldest := slices.MinFunc(c.away, func(a, b web.Caller) int { return a.Last.Compare(b.Last) })
				c.away = slices.DeleteFunc(c.away, func(x web.Caller) bool { return x == oldest })
			}
			i = len(c.away)
			c.away = append(c.away, web.Caller{AETitle: e.Peer, Address: address})
		}
		c.away[i].Times++
		c.away[i].Last, c.away[i].Called = e.Time.UTC(), e.Err.Error()
	}
}

// peers returns the configured peers.
func (c *callers) peers() []web.Caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]web.Caller{}, c.list...)
}

// rejected returns the rejected callers, the newest first.
func (c *callers) rejected() []web.Caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := append([]web.Caller{}, c.away...)
	slices.SortFunc(list, func(a, b web.Caller) int { return b.Last.Compare(a.Last) })
	return list
}

// tokens remembers the last wrong token.
type tokens struct {
	mu      sync.Mutex
	address string
	times   int
	at      time.Time
}

func (t *tokens) wrong(address string, times int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.address, t.times, t.at = address, times, now()
}

func (t *tokens) last() (address string, times int, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.address, t.times, t.at
}
