package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"ichor/pipeline/state"
	"ichor/reporting/web"
	"ichor/scp/secure"
	"ichor/scp/spool"
)

// Limits from which an operator is told.
const (
	downLong     = 10 * time.Minute    // a destination that is down for longer is critical
	oldBacklog   = time.Hour           // age of the oldest pending delivery to a destination that is up
	oldJob       = 15 * time.Minute    // age of the oldest job
	renewBefore  = 30 * 24 * time.Hour // days that a certificate is still valid
	tellRejected = 24 * time.Hour      // how long a rejected caller is told
	tellCrash    = 24 * time.Hour
)

// AlarmNames lists every alarm, for the documentation and its test.
func AlarmNames() []string {
	return []string{"not-ready", "disk", "destination-down", "backlog", "dead-letters", "analysis-stuck", "certificate", "canary",
		"events", "audit-repository", "configuration", "crash", "damaged", "pair", "pair-partial", "caller-rejected", "contexts-rejected", "token"}
}

// alarms returns what an operator must act on, the critical ones first.
func (n *Node) alarms(destinations []web.Destination) []web.Alarm {
	at := now()
	var list []web.Alarm
	add := func(a web.Alarm) { list = append(list, a) }
	refused := n.spool.Ready()
	if free, err := n.spool.Free(); refused == nil && err == nil && free < 2*uint64(n.config.DICOM.ReserveMiB)<<20 {
		add(web.Alarm{Name: "disk", Severity: web.Warning, Text: fmt.Sprintf("%d MiB are free; objects are refused below dicom.reserve_mib, %d", free>>20, n.config.DICOM.ReserveMiB),
			Remedy: "free disk space, or set retention_gib"})
	}
	list = append(list, diskAlarms(refused, n.queue.Ready())...)
	list = append(list, n.commonAlarms(at)...)
	list = append(list, n.deliveryAlarms(destinations)...)
	if age, err := n.store.OldestJob(); err == nil && age > oldJob {
		add(web.Alarm{Name: "analysis-stuck", Severity: web.Critical, Text: fmt.Sprintf("the oldest study has waited %v for its analysis", age.Round(time.Minute)),
			Remedy: "look in the log for analyses that fail or take long; restart the service if there are none", Since: at.Add(-age)})
	}
	if c := n.canary.last(); c != nil && !c.OK {
		add(web.Alarm{Name: "canary", Severity: web.Critical, Text: "the self-test failed: " + c.Result, Since: c.At,
			Remedy: "run 'ichor check' and look in the log; 'ichor canary' repeats the self-test"})
	}
	if damaged := len(n.spool.Damaged()); damaged > 0 {
		add(web.Alarm{Name: "damaged", Severity: web.Warning, Text: fmt.Sprintf("%d received objects are damaged on disk", damaged),
			Remedy: "check the disk, and send the studies named in the log again"})
	}
	if err := n.events.Err(); err != nil {
		add(web.Alarm{Name: "events", Severity: web.Critical, Text: "the event log cannot be written: " + err.Error(), Remedy: "make events.dir writable and free disk space"})
	}
	if since, err := n.events.Waiting(); err != nil {
		add(web.Alarm{Name: "audit-repository", Severity: web.Warning, Text: "audit messages wait: " + err.Error(), Since: since,
			Remedy: "check audit.server and its certificate; the messages are kept and sent when it answers"})
	}
	if !n.crashed.IsZero() && at.Sub(n.started) < tellCrash {
		add(web.Alarm{Name: "crash", Severity: web.Warning, Text: "the node before this one ended without stopping in order", Since: n.crashed,
			Remedy: "nothing acknowledged is lost; look in the log before " + n.started.Local().Format(time.DateTime) + " for the cause, and report it"})
	}
	list = append(list, n.pairAlarms(at)...)
	sortAlarms(list)
	return list
}

// sortAlarms puts the critical ones first.
func sortAlarms(list []web.Alarm) {
	order := func(s web.Severity) int { return slices.Index([]web.Severity{web.Critical, web.Warning}, s) }
	slices.SortStableFunc(list, func(a, b web.Alarm) int { return order(a.Severity) - order(b.Severity) })
}

// commonAlarms are those that need no state: they are told while the node waits for its disk, too.
func (n *Node) commonAlarms(at time.Time) []web.Alarm {
	list := certificateAlarms(n.expiries(), at)
	if since, err := n.refusedFile(); err != nil {
		list = append(list, web.Alarm{Name: "configuration", Severity: web.Warning, Text: "the changed configuration was refused, the previous one is in use: " + err.Error(), Since: since,
			Remedy: "correct the file ('ichor check' shows its faults) and reload again"})
	}
	return append(list, n.callerAlarms(at)...)
}

// diskAlarms tells why objects are refused, and why none are analysed. Both errors say what to do after their first semicolon.
func diskAlarms(refused, queue error) (list []web.Alarm) {
	later := "studies are received and will be analysed later"
	if refused != nil {
		later = "studies that were received before wait"
		text, remedy, _ := strings.Cut(refused.Error(), "; ")
		if errors.Is(refused, spool.ErrNoSpace) {
			remedy = cmp.Or(remedy, "free disk space") + ", or give the state folder a larger disk"
		}
		list = append(list, web.Alarm{Name: "disk", Severity: web.Critical, Text: "objects are refused (A700H): " + text,
			Remedy: cmp.Or(remedy, "look in the log for the cause") + "; reception resumes by itself"})
	}
	if queue != nil {
		text, remedy, _ := strings.Cut(queue.Error(), "; ")
		list = append(list, web.Alarm{Name: "not-ready", Severity: web.Critical, Text: text, Remedy: cmp.Or(remedy, "look in the log for the cause; "+later)})
	}
	return list
}

func certificateAlarms(expiries []secure.Expiry, at time.Time) (list []web.Alarm) {
	for _, e := range expiries {
		said, err := e.Check(at)
		switch {
		case err != nil && e.List:
			list = append(list, web.Alarm{Name: "certificate", Severity: web.Warning, Subject: e.File, Text: err.Error(), Remedy: "replace the revocation list"})
		case err != nil:
			list = append(list, web.Alarm{Name: "certificate", Severity: web.Critical, Subject: e.File, Text: err.Error(), Remedy: "replace the file; no restart is needed"})
		case !e.List && e.NotAfter.Sub(at) < renewBefore:
			list = append(list, web.Alarm{Name: "certificate", Severity: web.Warning, Subject: e.File, Text: said, Remedy: "replace the file; no restart is needed"})
		}
	}
	return list
}

// deliveryAlarms tells about destinations that are down or behind, and about what was given up.
func (n *Node) deliveryAlarms(destinations []web.Destination) (list []web.Alarm) {
	for _, d := range destinations {
		switch {
		case d.Down:
			a := web.Alarm{Name: "destination-down", Severity: web.Warning, Foreign: true, Subject: d.Name, Since: d.Since,
				Text:   fmt.Sprintf("%s does not take results (%s); %d objects wait, the oldest for %v", d.Address, d.LastError, d.Pending, d.Oldest.Round(time.Second)),
				Remedy: "make sure that it answers ('ichor check' tests it); ichor tries again by itself"}
			if now().Sub(d.Since) > downLong {
				a.Severity = web.Critical
			}
			list = append(list, a)
		case d.Oldest > oldBacklog:
			list = append(list, web.Alarm{Name: "backlog", Severity: web.Warning, Subject: d.Name, Since: now().Add(-d.Oldest),
				Text:   fmt.Sprintf("%d objects wait, the oldest for %v", d.Pending, d.Oldest.Round(time.Second)),
				Remedy: "the destination is slow or refuses objects for now: look at 'last error' of the newest cases; set destinations[].associations higher if it is slow"})
		}
	}
	letters, err := n.DeadLetters(context.Background())
	if err != nil {
		return list
	}
	for _, g := range web.Groups(letters) {
		i := slices.IndexFunc(list, func(a web.Alarm) bool { return a.Name == "dead-letters" && a.Subject == g.Destination })
		if i >= 0 { // one alarm for each destination, about its first group
			continue
		}
		what := fmt.Sprintf("%d objects given up (cases: %d): %s", g.Objects, g.Cases, g.Reason)
		if g.Kind == "analysis" {
			what = fmt.Sprintf("analysis given up (cases: %d): %s", g.Cases, g.Reason)
		}
		list = append(list, web.Alarm{Name: "dead-letters", Severity: web.Warning, Foreign: true, Subject: g.Destination, Text: what, Remedy: g.Remedy, Since: g.First})
	}
	return list
}

// callerAlarms tells about peers that were turned away lately.
func (n *Node) callerAlarms(at time.Time) (list []web.Alarm) {
	if rejected := n.callers.rejected(); len(rejected) > 0 && at.Sub(rejected[0].Last) < tellRejected {
		c, times := rejected[0], 0
		for _, r := range rejected {
			times += r.Times
		}
		list = append(list, web.Alarm{Name: "caller-rejected", Severity: web.Warning, Since: c.Last,
			Text:   fmt.Sprintf("%d associations were rejected; the last from %s: %s", times, c.Address, c.Called),
			Remedy: "if it is a peer of yours, add its AE title and address to dicom.peers, or correct the AE title that it calls"})
	}
	if turned := n.turned.newest(); len(turned) > 0 && at.Sub(turned[0].Last) < tellRejected {
		list = append(list, web.Alarm{Name: "contexts-rejected", Severity: web.Warning, Since: turned[0].Last,
			Text:   fmt.Sprintf("%s proposed %s, of which the %s is not supported", turned[0].Peer, turned[0].SOPClass, turned[0].Reason),
			Remedy: "nothing needs to be done unless these objects should be analysed: then let the peer send CT images uncompressed"})
	}
	if address, times, last := n.tokens.last(); times > 0 && at.Sub(last) < tellRejected {
		list = append(list, web.Alarm{Name: "token", Severity: web.Warning, Since: last, Text: fmt.Sprintf("%d wrong tokens came from %s", times, address),
			Remedy: "if nobody mistyped it, find out who uses this address; answers are delayed after wrong tokens"})
	}
	return list
}

// destinationsNow joins what delivery and state know of each destination.
func (n *Node) destinationsNow() (list []web.Destination) {
	counts, err := n.store.Counts()
	for _, s := range n.deliverer.Status() {
		if s.Name == n.canary.destination() {
			continue
		}
		d := web.Destination{Name: s.Name, Address: s.Address, Down: s.Down, Since: s.Since, LastError: s.LastError, NextTry: s.NextTry}
		if err == nil {
			d.Pending, d.Dead = counts.Deliveries[s.Name][state.Pending], counts.Deliveries[s.Name][state.Dead]
			if at, ok := counts.LastStored[s.Name]; ok {
				d.Stored = time.Unix(at, 0).UTC()
			}
		}
		if age, err := n.store.Oldest(s.Name); err == nil {
			d.Oldest = age
		}
		list = append(list, d)
	}
	return list
}

// alarmsNow returns the alarms of a node in any condition.
func (n *Node) alarmsNow() []web.Alarm {
	if n.blocked.Load() != nil {
		return n.standByAlarms()
	}
	return n.alarms(n.destinationsNow())
}

// info describes the node.
func (n *Node) info() web.Node {
	destinations := n.destinationsNow()
	i := n.describe(n.alarms(destinations), destinations)
	i.Pair = n.pairing()
	return i
}

// describe is what the node runs with, and its alarms. It reads nothing that open writes.
func (n *Node) describe(alarms []web.Alarm, destinations []web.Destination) web.Node {
	b := n.engine.Bundle
	i := web.Node{
		Version: n.version, Configuration: n.config.Source, Bundle: b.Name + " " + b.Version, Provider: n.config.Analysis.Provider,
		PID: os.Getpid(), Started: n.started, Alarms: alarms, Destinations: destinations, Peers: n.callers.peers(), Rejected: n.callers.rejected(), Canary: n.canary.last(),
	}
	for _, l := range n.dicom {
		i.DICOM = append(i.DICOM, l.Addr().String())
	}
	if i.Alarms == nil {
		i.Alarms = []web.Alarm{}
	}
	if err := n.Ready(); err != nil {
		i.NotReady = err.Error()
	}
	return i
}
