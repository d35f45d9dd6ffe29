package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"ichor/config"
	"ichor/pipeline/state"
	"ichor/scp/find"
)

const (
	askedAtOnce = 4
	askedQueue  = 256              // further studies go by the quiet period
	askedTime   = 30 * time.Second // for one answer; the quiet period runs meanwhile
)

// ask has the peer that sends a study asked how many objects it has, where it may be (dicom.peers[].find).
func (n *node) ask(study string) {
	select {
	case n.asked <- study:
	default:
	}
}

// here is how many objects of a study are in the spool.
func (n *node) here(study string) int {
	seen := map[string]bool{}
	for _, o := range n.spool.Study(study) {
		seen[o.SOPInstanceUID] = true
	}
	return len(seen)
}

// count asks peers until ctx is done.
func (n *node) count(ctx context.Context) error {
	var asking sync.WaitGroup
	for range askedAtOnce {
		asking.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case study := <-n.asked:
					n.countStudy(ctx, study)
				}
			}
		})
	}
	asking.Wait()
	return nil
}

func (n *node) countStudy(ctx context.Context, study string) {
	objects := n.spool.Study(study)
	if len(objects) == 0 {
		return
	}
	sender := objects[len(objects)-1].CallingAE
	may := slices.ContainsFunc(n.config.DICOM.Peers, func(p config.Peer) bool { return p.AETitle == sender && p.Find })
	o, ok := n.peerAddress(sender)
	if !may || !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askedTime)
	defer cancel()
	expected, err := find.Count(ctx, o, study)
	if err != nil {
		n.log.Warn("the sender was asked how many objects the study has; it goes by the quiet period", "case", state.IDOf(study), "peer", sender, "err", err)
		return
	}
	n.assembler.Expect(study, expected)
}
