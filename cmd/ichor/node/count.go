package node

import (
	"context"
	"sync"
	"time"

	"ichor/config"
	"ichor/pipeline/state"
	"ichor/scp/find"
)

const (
	askedAtOnce = 4
	askedQueue  = 256              // studies beyond this fall back to the quiet period
	askedTime   = 30 * time.Second // timeout of one query; the quiet period runs meanwhile
)

// ask queues a study for count if dicom.peers[].find is set for its sender.
func (n *Node) ask(study string) {
	select {
	case n.asked <- study:
	default:
	}
}

// count asks senders by C-FIND how many objects their studies have, until ctx is done.
func (n *Node) count(ctx context.Context) error {
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

func (n *Node) countStudy(ctx context.Context, study string) {
	objects := n.spool.Study(study)
	if len(objects) == 0 {
		return
	}
	title := objects[len(objects)-1].CallingAE
	if title == config.CanaryTitle {
		if all, ok := n.canary.expected(study); ok {
			n.assembler.Expect(study, all)
		}
		return
	}
	s, ok := (*n.senders.Load())[title]
	if !ok || !s.count {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askedTime)
	defer cancel()
	expected, err := find.Count(ctx, s.call, study)
	if err != nil {
		n.log.Warn("C-FIND for the instance count failed; falling back to the quiet period", "case", state.IDOf(study), "peer", title, "err", err)
		return
	}
	n.assembler.Expect(study, expected)
}
