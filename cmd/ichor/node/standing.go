package node

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"ichor/reporting/web"
)

// others returns the other nodes of the pair that are alive.
func (p *paired) others() (list []aboutNode) {
	for _, text := range p.Standing().Others {
		var a aboutNode
		if json.Unmarshal([]byte(text), &a) == nil {
			list = append(list, a)
		}
	}
	return list
}

// pairing describes the pair for display, nil without one.
func (n *Node) pairing() *web.Pair {
	if n.pair == nil {
		return nil
	}
	s := n.pair.Standing()
	w := &web.Pair{Name: n.config.Pair.Name, Holds: s.Held, Since: s.Since, Alone: s.Alone, Untold: s.Untold, Dropped: s.Dropped}
	for _, o := range n.pair.others() {
		w.Others = append(w.Others, o.Host)
		if o.Node == s.Holder {
			w.Holder = o.Host
		}
	}
	if s.Held {
		w.Holder = n.aboutMe().Host
	}
	return w
}

// differs returns in what the other node of a pair differs from this one, empty if in nothing that matters.
func (a aboutNode) differs(other aboutNode) string {
	switch err := a.identity.differs(other.identity, "this node", "here", other.Host); {
	case a.Lease != other.Lease:
		return fmt.Sprintf("pair.lease is %s here and %s on %s", a.Lease, other.Lease, other.Host)
	case !slices.Equal(sorted(a.Destinations), sorted(other.Destinations)):
		return fmt.Sprintf("the destinations here are %s, those of %s %s", strings.Join(a.Destinations, " "), other.Host, strings.Join(other.Destinations, " "))
	case err != nil:
		return err.Error()
	}
	return ""
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// pairAlarms tells that nothing would take over from this node, and about studies of which no node can send a result.
func (n *Node) pairAlarms(at time.Time) (list []web.Alarm) {
	if n.pair == nil {
		return nil
	}
	s, others := n.pair.Standing(), n.pair.others()
	a := web.Alarm{Name: "pair", Severity: web.Warning}
	switch {
	case s.Alone:
		a.Text, a.Since = "the lease cannot be read; both nodes send their results", s.Checked
		a.Remedy = "check the NATS servers at queue.url; a destination may get the same objects twice, which it stores once"
		list = append(list, a)
	case len(others) == 0 && at.Sub(n.started) > 2*n.config.Pair.Lease:
		a.Text, a.Remedy = "the other node of the pair is not there; nothing takes over from this one", "start it, and make sure that pair.name and queue.url are the same on both"
		list = append(list, a)
	}
	for _, o := range others {
		if what := n.aboutMe().differs(o); what != "" {
			a.Text, a.Remedy = what, "use the same version, bundle, settings of analysis and destinations on both nodes; otherwise their results differ"
			list = append(list, a)
			break
		}
	}
	if studies, since := n.pair.partials(at, len(others) == 0); studies > 0 {
		list = append(list, web.Alarm{Name: "pair-partial", Severity: web.Critical, Since: since,
			Text:   fmt.Sprintf("of %d studies this node has only a part, and the other node has not sent a result of the whole", studies),
			Remedy: "start the other node, or send these studies again as a whole, to one node; 'ichor status' shows their results as pending, or as superseded by the other node"})
	}
	return list
}

// partials counts the studies of which this node has a part and whose result the other node has not sent for pair.wait, or
// cannot send any more.
func (p *paired) partials(at time.Time, gone bool) (studies int, since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, begun := range p.partial {
		if gone || at.Sub(begun) > p.wait {
			studies++
			if since.IsZero() || begun.Before(since) {
				since = begun
			}
		}
	}
	return studies, since
}

// measurePair declares the metrics of the pair.
func (n *Node) measurePair() {
	one := func(name, help string, read func() float64) {
		n.observer.Gauge(name, help, nil, func(set func(float64, ...string)) {
			if n.pair != nil {
				set(read())
			}
		})
	}
	one("ichor_pair_lease", "1 while this node of a pair has the lease and sends results, 0 while it has not; missing without a pair.", func() float64 {
		if n.pair.Standing().Held {
			return 1
		}
		return 0
	})
	one("ichor_pair_others", "Other nodes of the pair that are alive; missing without a pair.", func() float64 { return float64(len(n.pair.others())) })
}
