package node

import (
	"cmp"
	"slices"
	"sync"

	"ichor/reporting/web"
	"ichor/scp"
	"ichor/scp/dcm"
)

// mostTurnedAway bounds what is remembered; what comes after it is in the log only.
const mostTurnedAway = 200

// turnedAway remembers since the start which presentation contexts of which peers were not accepted. The zero value is empty.
type turnedAway struct {
	mu   sync.Mutex
	list []web.TurnedAway
}

func (t *turnedAway) received(e scp.Event) {
	if e.Kind != scp.Unsupported {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.list, func(x web.TurnedAway) bool {
		return x.Peer == e.Peer && x.SOPClassUID == e.SOPClassUID && x.Reason == e.Reason
	})
	if i < 0 {
		if len(t.list) >= mostTurnedAway {
			return
		}
		i = len(t.list)
		t.list = append(t.list, web.TurnedAway{Peer: e.Peer, SOPClassUID: e.SOPClassUID, SOPClass: dcm.UIDName(e.SOPClassUID), Reason: e.Reason})
	}
	t.list[i].Contexts += e.Count
	t.list[i].Last = e.Time.UTC()
}

// newest lists them, the newest first.
func (t *turnedAway) newest() []web.TurnedAway {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := append([]web.TurnedAway{}, t.list...)
	slices.SortStableFunc(list, func(a, b web.TurnedAway) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.SOPClassUID, b.SOPClassUID))
	})
	return list
}
