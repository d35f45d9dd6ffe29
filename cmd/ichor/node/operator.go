package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"ichor/config"
	"ichor/pipeline/state"
	"ichor/reporting/deliver"
	"ichor/reporting/web"
)

// Retry queues another analysis of a finished case, as its next revision.
func (n *Node) Retry(ctx context.Context, id state.CaseID) error {
	c, err := n.store.Case(id)
	if errors.Is(err, state.ErrNotFound) {
		return fmt.Errorf("no case %s; 'ichor status' lists them: %w", id, err)
	}
	if err != nil {
		return err
	}
	if n.objects(c.StudyInstanceUID) == 0 {
		return fmt.Errorf("case %s: its images were removed after the retention time; send the study again: %w", id, state.ErrTransition)
	}
	if err := n.lost(c); err != nil {
		return fmt.Errorf("case %s: %w: %w", id, err, state.ErrTransition)
	}
	c, err = n.store.Requeue(id, now())
	if errors.Is(err, state.ErrTransition) {
		return fmt.Errorf("case %s is being received, analysed or removed: %w", id, err)
	}
	if err != nil {
		return err
	}
	if err := n.submit(ctx, c); err != nil {
		n.assembler.Resume(c.StudyInstanceUID, 0)
		return fmt.Errorf("%w; it will be analysed as soon as the queue can store again", err)
	}
	return nil
}

// RetryFailed retries every failed case whose images are still stored.
func (n *Node) RetryFailed(ctx context.Context) (retried []state.CaseID, err error) {
	failed, err := n.store.InPhase(state.Failed)
	if err != nil {
		return nil, err
	}
	for _, c := range failed {
		err := n.Retry(ctx, c.ID)
		if errors.Is(err, state.ErrTransition) { // its images were deleted, or its phase has changed meanwhile
			continue
		}
		if err != nil {
			return retried, err
		}
		retried = append(retried, c.ID)
	}
	return retried, nil
}

// DeadLetters lists failed analyses, then deliveries, that were given up and have no newer revision.
func (n *Node) DeadLetters(context.Context) ([]web.DeadLetter, error) {
	failed, err := n.store.InPhase(state.Failed)
	if err != nil {
		return nil, err
	}
	var list []web.DeadLetter
	for _, c := range failed {
		if c.Dismissed {
			continue
		}
		list = append(list, web.DeadLetter{
			Group: group("", c.Error), ID: analysisID(c), Kind: "analysis", Case: c.ID, Tries: c.Tries, Reason: c.Error, At: c.Updated,
			Remedy: "fix the problem given as the reason, then run 'ichor retry " + string(c.ID) + "'",
		})
	}
	deliveries, err := n.store.DeadLetters()
	if err != nil {
		return nil, err
	}
	for _, d := range deliveries {
		cause := d.Cause
		if !n.configured(d.Destination) && d.Destination != n.canary.destination() { // removed after it was given up
			cause = state.Unconfigured
		}
		list = append(list, web.DeadLetter{
			Group: group(d.Destination, d.LastError), ID: deliveryID(d), Kind: "delivery", Case: d.Case, Object: d.Kind, Destination: d.Destination, Tries: d.Tries,
			Reason: d.LastError, Remedy: deliver.Remedy(cause), At: d.Updated,
		})
	}
	return list, nil
}

// analysisID returns the dead letter's ID for the failed analysis of a case.
func analysisID(c state.Case) string { return string(c.ID) + "." + strconv.Itoa(c.Revision) }

// deliveryID returns an ID for a delivery that does not contain its UID.
func deliveryID(d state.Delivery) string { return "d" + strconv.FormatUint(d.Number, 10) }

// buryUnknown turns deliveries to destinations that are no longer configured into dead letters: they would never be
// sent, and an operator must see them.
func (n *Node) buryUnknown() error {
	counts, err := n.store.Counts()
	if err != nil {
		return err
	}
	for name := range counts.Deliveries {
		if n.configured(name) || name == n.canary.destination() {
			continue
		}
		if err := n.store.WaiveCommitment(name, now()); err != nil {
			return err
		}
		given, err := n.store.GiveUp(name, 0, state.Unconfigured, deliver.Unknown, now())
		if err != nil {
			return err
		}
		if len(given) > 0 {
			n.log.Warn("deliveries became dead letters: their destination is no longer configured; 'ichor dead-letters' lists them", "dest", name, "objects", len(given))
		}
	}
	return nil
}

// Replay makes deliveries pending again.
func (n *Node) Replay(_ context.Context, s web.Selection) (int, error) {
	if s.Destination != "" && !n.configured(s.Destination) {
		return 0, fmt.Errorf("no destination %q in the configuration of the node: %w", s.Destination, state.ErrNotFound)
	}
	count, err := n.eachDead(s, func(key state.DeliveryKey) error {
		switch {
		case n.configured(key.Destination):
		case len(s.IDs)+len(s.Groups) > 0:
			return fmt.Errorf("destination %q is not in the configuration any more; add it and restart, or discard the letters: %w", key.Destination, state.ErrNotFound)
		default: // of all, those that can be sent
			return fmt.Errorf("%s: %w", deliver.Unknown, state.ErrTransition)
		}
		return n.store.Replay(key, now())
	})
	n.deliverer.Wake()
	return count, err
}

// Discard discards dead letters permanently. They must be named: an empty selection does not mean all.
func (n *Node) Discard(ctx context.Context, s web.Selection) (count int, err error) {
	if s.Destination != "" || len(s.Groups) > 0 {
		letters, err := n.DeadLetters(ctx)
		if err != nil {
			return 0, err
		}
		for _, l := range letters {
			if s.Destination != "" && l.Destination == s.Destination || slices.Contains(s.Groups, l.Group) {
				s.IDs = append(s.IDs, l.ID)
			}
		}
	}
	if len(s.IDs) == 0 {
		return 0, fmt.Errorf("there are no such dead letters; 'ichor dead-letters' lists them: %w", state.ErrNotFound)
	}
	var deliveries []string
	for _, id := range s.IDs {
		name, number, ok := strings.Cut(id, ".")
		if !ok {
			deliveries = append(deliveries, id)
			continue
		}
		revision, err := strconv.Atoi(number)
		if err == nil {
			err = n.store.Dismiss(state.CaseID(name), revision, now())
		}
		if err != nil {
			return count, unknownLetter(id)
		}
		count++
	}
	if len(deliveries) == 0 {
		return count, nil
	}
	more, err := n.eachDead(web.Selection{IDs: deliveries}, func(key state.DeliveryKey) error { return n.store.Discard(key, now()) })
	return count + more, err
}

func unknownLetter(id string) error {
	return fmt.Errorf("no dead letter %q; 'ichor dead-letters' lists them: %w", id, state.ErrNotFound)
}

// eachDead calls do for each selected dead delivery.
func (n *Node) eachDead(s web.Selection, do func(state.DeliveryKey) error) (count int, err error) {
	dead, err := n.store.DeadLetters()
	if err != nil {
		return 0, err
	}
	wanted := map[string]bool{}
	for _, id := range s.IDs {
		wanted[id] = true
	}
	var chosen []state.Delivery
	for _, d := range dead {
		if len(s.Groups) > 0 && !slices.Contains(s.Groups, group(d.Destination, d.LastError)) {
			continue
		}
		if s.Destination != "" && d.Destination != s.Destination || len(s.IDs) > 0 && !wanted[deliveryID(d)] {
			continue
		}
		delete(wanted, deliveryID(d))
		chosen = append(chosen, d)
	}
	for _, id := range s.IDs {
		if wanted[id] {
			return 0, unknownLetter(id)
		}
	}
	if len(s.Groups) > 0 && len(chosen) == 0 {
		return 0, unknownLetter(strings.Join(s.Groups, ", "))
	}
	for _, d := range chosen {
		switch err := do(d.DeliveryKey); {
		case errors.Is(err, state.ErrTransition): // another request has already handled it
		case err != nil:
			return count, err
		default:
			count++
		}
	}
	return count, nil
}

func (n *Node) configured(destination string) bool {
	_, ok := n.destinations[destination]
	return ok
}

func destinationNames(c config.Config) (names []string) {
	for _, d := range c.Destinations {
		names = append(names, d.Name)
	}
	return names
}

// group names the dead letters with the same destination and reason. Numbers in a reason, such as UIDs, do not count.
func group(destination, reason string) string {
	words := strings.FieldsFunc(reason, func(r rune) bool { return unicode.IsDigit(r) || r == '.' })
	sum := sha256.Sum256([]byte(destination + "\x00" + strings.Join(words, "")))
	return "g" + hex.EncodeToString(sum[:4])
}
