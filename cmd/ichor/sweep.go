package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"ichor/pipeline/state"
)

// sweepInterval is how often old studies are looked for; retention is counted in days.
const sweepInterval = 15 * time.Minute

// sweep removes studies that are finished, delivered, and older than the retention time. Unfinished work is never
// touched. Their cases stay: the same study sent again gives the same result, which is not delivered twice.
func (n *node) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			for _, study := range n.spool.Studies() {
				if err := n.sweepStudy(study, now()); err != nil {
					n.log.Error("old study not removed", "case", state.IDOf(study), "err", err)
				}
			}
		}
	}
}

func (n *node) sweepStudy(study string, at time.Time) error {
	id := state.IDOf(study)
	c, err := n.store.Case(id)
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	if err != nil || c.Phase != state.Analyzed && c.Phase != state.Refused || at.Sub(c.Updated) < n.config.Retention {
		return err
	}
	deliveries, err := n.store.Deliveries(id)
	if err != nil {
		return err
	}
	for _, d := range deliveries {
		if !d.Settled() || at.Sub(d.Updated) < n.config.Retention {
			return nil
		}
	}
	// An object that came a moment ago is acknowledged, but the case may not say so yet: the spool looks once more.
	removed, err := n.spool.RemoveStudy(study, at.Add(-n.config.Retention))
	if err != nil || !removed {
		return err
	}
	n.log.Info("old study removed", "case", id)
	return os.RemoveAll(filepath.Join(n.results, string(id)))
}
