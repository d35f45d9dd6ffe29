package node

import (
	"ichor/pipeline/assembly"
	"ichor/reporting/web"
)

// knownSenders returns what earlier runs learnt of senders. Without it, every sender is new, which only costs waiting time.
func (n *Node) knownSenders() []assembly.Sender {
	known, err := n.store.Senders()
	if err != nil {
		n.log.Warn("pauses of senders not read; the configured quiet period applies until they are learnt again", "err", err)
	}
	return known
}

// learnt stores what assembly has learnt of a sender.
func (n *Node) learnt(s assembly.Sender) {
	if err := n.store.PutSender(s); err != nil {
		n.log.Warn("pauses of a sender not stored; they are learnt again after a restart", "peer", s.AETitle, "err", err)
	}
}

// peers lists the senders for display.
func (n *Node) peers() []web.Sender {
	list := []web.Sender{}
	for _, s := range n.assembler.Senders() {
		list = append(list, web.Sender{AETitle: s.AETitle, Studies: s.Studies, Late: s.Late, Learnt: s.Learnt(), Last: s.Last.UTC(),
			LongestPauseS: s.LongestPause().Seconds(), QuietPeriodS: s.Quiet(n.config.Assembly.LeastQuiet, n.config.Assembly.QuietPeriod).Seconds()})
	}
	return list
}
