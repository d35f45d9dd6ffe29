package node

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ichor/config"
	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/reporting/audit"
	"ichor/reporting/deliver"
	"ichor/reporting/events"
	"ichor/scp"
	"ichor/scp/dcm"
)

// EventsDir is the folder of the event log.
func EventsDir(c config.Config) string {
	if c.Events.Dir != "" {
		return c.Events.Dir
	}
	return filepath.Join(c.State, "events")
}

// eventLog is the event log with what sends its audit messages. The zero value keeps nothing.
type eventLog struct {
	*events.Log
	audits []*audit.Sender
}

// openEvents opens the event log.
func (n *Node) openEvents() (err error) {
	c := n.config
	dir := EventsDir(c)
	n.events = eventLog{}
	if n.events.Log, err = events.Open(events.Options{Dir: dir, Keep: c.Events.Keep, Logger: n.log}); err != nil {
		return err
	}
	if err := n.missEvents(); err != nil {
		return err
	}
	host, _ := os.Hostname()
	o := audit.Options{Events: n.events.Log, Dir: dir, SourceID: c.Audit.SourceID, AETitle: c.DICOM.AETitle, Process: "ichor", Host: host, Logger: n.log}
	if c.Audit.File != "" {
		o := o
		o.File = c.Audit.File
		n.events.audits = append(n.events.audits, audit.New(o))
	}
	if c.Audit.Server != "" {
		o.Server, o.TLS = c.Audit.Server, func() *tls.Config { return n.credentials.Client(c.Audit.ServerName) }
		n.events.audits = append(n.events.audits, audit.New(o))
	}
	return nil
}

// missEvents records that an earlier event log of this node is not here: it was removed, or the state was restored without it.
func (n *Node) missEvents() error {
	since, err := n.store.EventLogSince()
	if err != nil {
		return err
	}
	if number, _ := n.events.Head(); number == 0 && !since.IsZero() {
		n.log.Error("the event log is missing; a new one begins", "since", since)
		n.events.Append(events.Event{Kind: events.Missing, Detail: "kept since " + since.Format(time.RFC3339)})
	}
	return nil
}

// closeEvents writes what waits. Entries that cannot be written are lost, and the log has said so; the rest stops in order.
func (n *Node) closeEvents() error {
	if n.events.Log == nil {
		return nil
	}
	if err := n.events.Close(); err != nil {
		n.log.Error("event log not complete", "err", err)
	}
	return nil
}

// Append adds an entry.
func (l *eventLog) Append(e events.Event) {
	if l.Log != nil {
		l.Log.Append(e)
	}
}

// Err returns why entries cannot be written.
func (l *eventLog) Err() error {
	if l.Log == nil {
		return nil
	}
	return l.Log.Err()
}

// Waiting returns why audit messages wait, and since when.
func (l *eventLog) Waiting() (time.Time, error) {
	for _, a := range l.audits {
		if since, err := a.Waiting(); err != nil {
			return since, err
		}
	}
	return time.Time{}, nil
}

// keepEvents removes entries after their time, and writes the digest of the newest one to the service's log, where a log that was
// rewritten as a whole is found by it.
func (n *Node) keepEvents(ctx context.Context) error {
	for { // until the first entry is written
		changed := n.events.Changed()
		if number, _ := n.events.Head(); number > 0 {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
	if err := n.store.BeginEventLog(n.started); err != nil {
		n.log.Warn("not recorded that there is an event log", "err", err)
	}
	tick := time.NewTicker(24 * time.Hour)
	defer tick.Stop()
	for {
		if err := n.events.Prune(); err != nil {
			n.log.Error("old events not removed", "err", err)
		}
		if number, digest := n.events.Head(); number > 0 {
			n.log.Info("event log", "entries", number, "digest", digest)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// bundleName names the bundle with its digest.
func (n *Node) bundleName() string {
	b := n.engine.Bundle
	return b.Name + " " + b.Version + " sha256:" + b.Digest
}

// settings are those of the analysis that change its result.
func (n *Node) settings() string {
	a := n.config.Analysis
	return fmt.Sprintf("provider=%s precision=%s operating_point=%s min_slices=%d min_age=%d contrast=%t bone_kernel=%t",
		a.Provider, a.Precision, a.OperatingPoint, a.MinSlices, a.MinAge, a.Contrast, a.BoneKernel)
}

// configurationDigest is that of the file, so that a change between two starts can be seen.
func configurationDigest(source string) string {
	text, err := os.ReadFile(source)
	if err != nil {
		return "none"
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

func (n *Node) recordStart() {
	n.events.Append(events.Event{Kind: events.Started, Bundle: n.bundleName(), Settings: n.settings(),
		Detail: fmt.Sprintf("version %s, configuration %s, digest %s", n.version, n.config.Source, configurationDigest(n.config.Source))})
}

// recordReload records the settings that a reload changed, by name: values may be secret.
func (n *Node) recordReload(taken, restart []string) {
	detail := "configuration reloaded, digest " + configurationDigest(n.inUse.config.Source)
	if len(taken) > 0 {
		detail += ", changed: " + strings.Join(taken, " ")
	}
	if len(restart) > 0 {
		detail += ", not in use until a restart: " + strings.Join(restart, " ")
	}
	n.events.Append(events.Event{Kind: events.Changed, Detail: detail})
}

// addressOf returns the address of a peer, "" if it came over the socket of the self-test.
func addressOf(e scp.Event) string {
	if !e.Remote.IsValid() {
		return ""
	}
	return e.Remote.Addr().String()
}

// recordCall records what peers do.
func (n *Node) recordCall(e scp.Event) {
	r := events.Event{Association: e.Assoc, Peer: e.Peer, Address: addressOf(e)}
	switch {
	case e.Untold: // a flood must not fill the event log either
		return
	case n.blocked.Load() != nil: // the event log is not open yet
		return
	case e.Kind == scp.Rejected:
		r.Kind, r.Detail = events.Refused, e.Err.Error()
	case e.Kind == scp.Unsupported:
		r.Kind, r.Detail, r.Objects = events.Refused, fmt.Sprintf("%s not supported: %s", e.Reason, dcm.UIDName(e.SOPClassUID)), e.Count
	case (e.Kind == scp.Released || e.Kind == scp.Aborted) && e.Objects > 0:
		r.Kind, r.Objects, r.Outcome, r.Case = events.Association, e.Objects, e.Kind.String(), strings.Join(e.Cases, " ")
		if e.Objects == 1 {
			n.appendAll(n.singles.add(r, now()))
			return
		}
	default:
		return
	}
	n.events.Append(r)
}

func (n *Node) appendAll(list []events.Event) {
	for _, e := range list {
		n.events.Append(e)
	}
}

// recordStudy records that a study is complete. The patient is read from one of its objects.
func (n *Node) recordStudy(study string, objects int, how string) {
	n.appendAll(n.singles.of(string(state.IDOf(study))))
	r := events.Event{Kind: events.Received, Case: string(state.IDOf(study)), StudyInstanceUID: study, PatientID: n.patientOf(study),
		Objects: objects, Detail: "complete by " + how}
	if all := n.spool.Study(study); len(all) > 0 {
		r.Peer = all[len(all)-1].CallingAE
		for _, c := range n.callers.peers() {
			if c.AETitle == r.Peer {
				r.Address = c.Address
			}
		}
	}
	n.events.Append(r)
}

// patientOf returns the patient ID in the newest object of a study, which has a corrected one, "" if its objects are not here any
// more.
func (n *Node) patientOf(study string) string {
	all := n.spool.Study(study)
	if len(all) == 0 {
		return ""
	}
	object, err := n.spool.Read(all[len(all)-1])
	if err != nil {
		return ""
	}
	defer object.Close()
	f, err := dcm.Read(object, object.Size(), dcm.Limits{})
	if err != nil {
		return ""
	}
	return f.Data.String(dcm.PatientID)
}

func (n *Node) recordAnalysis(study string, f finding.Finding) {
	outcome := string(f.Status)
	if f.Code != "" {
		outcome += " " + f.Code
	}
	n.events.Append(events.Event{Kind: events.Analysed, Case: string(state.IDOf(study)), StudyInstanceUID: study, PatientID: n.patientOf(study),
		Bundle: f.Bundle.Name + " " + f.Bundle.Version + " sha256:" + f.Bundle.Digest, Settings: n.settings(), Outcome: outcome})
}

// recordDelivery records results that a destination has stored.
func (n *Node) recordDelivery(destination string, id state.CaseID, objects int) {
	r := events.Event{Kind: events.Delivered, Case: string(id), Destination: destination, Objects: objects}
	if c, err := n.store.Case(id); err == nil {
		r.StudyInstanceUID, r.PatientID = c.StudyInstanceUID, n.patientOf(c.StudyInstanceUID)
		n.traceDelivery(c, destination, objects)
	}
	n.events.Append(r)
}

func (n *Node) recordLetter(e deliver.Event) {
	if e.Outcome == deliver.Dead {
		n.events.Append(events.Event{Kind: events.GaveUp, Case: string(e.Delivery.Case), Destination: e.Delivery.Destination, Outcome: string(e.Delivery.Cause), Detail: e.Delivery.Kind})
	}
}

func (n *Node) recordRemoval(id state.CaseID, study, why string) {
	n.events.Append(events.Event{Kind: events.Removed, Case: string(id), StudyInstanceUID: study, Outcome: why})
}

func (n *Node) looked(user, address, what string) {
	e := events.Event{Kind: events.Looked, User: user, Address: address, Detail: what}
	if id, ok := strings.CutPrefix(what, "case "); ok {
		e.Case = id
		if c, err := n.store.Case(state.CaseID(id)); err == nil {
			e.StudyInstanceUID, e.PatientID = c.StudyInstanceUID, n.patientOf(c.StudyInstanceUID)
		}
	}
	n.events.Append(e)
}

func (n *Node) ordered(user, address, order string) {
	n.log.Info("order", "order", order, "user", user, "from", address)
	n.events.Append(events.Event{Kind: events.Changed, User: user, Address: address, Detail: order})
}

// wrongToken tells about someone who gives a wrong token: the first time, and then every tenth.
func (n *Node) wrongToken(address string, times int) {
	n.tokens.wrong(address, times)
	n.happened()
	if times%10 != 1 {
		return
	}
	n.log.Warn("wrong token for the web interface", "from", address, "times", times)
	if n.blocked.Load() != nil { // the event log is not open yet
		return
	}
	n.events.Append(events.Event{Kind: events.Refused, Address: address, Detail: fmt.Sprintf("wrong token, %d times", times)})
}
