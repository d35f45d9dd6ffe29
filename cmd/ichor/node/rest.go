package node

import (
	"context"
	"time"
)

// restAfter is how long after an analysis its memory is freed, if no other one begins.
const restAfter = 10 * time.Second

// rest frees the memory of analyses when the node is idle, until ctx is done.
func (n *Node) rest(ctx context.Context) error {
	idle := time.NewTimer(restAfter)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.ended:
			idle.Reset(restAfter)
		case <-idle.C:
			if len(n.computing) > 0 {
				idle.Reset(restAfter)
			} else if err := n.engine.Rest(); err != nil {
				n.log.Warn("memory of analyses not freed", "err", err)
			}
		}
	}
}
