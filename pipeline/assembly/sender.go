package assembly

import (
	"slices"
	"strings"
	"time"
)

const (
	learntFrom = 8   // studies of a sender before its own quiet period applies
	learntMost = 128 // latest studies that count

	quietStep  = time.Second / 2 // learnt quiet periods are multiples of this
	leastPause = 200 * time.Millisecond

	mostSenders = 1000 // beyond this, the one not seen for the longest time is forgotten
)

// Sender is what an Assembler has learnt about the pauses of one sender. It must survive a restart.
type Sender struct {
	AETitle string    `json:"ae_title"`
	Studies int       `json:"studies"` // complete studies of more than one object
	Late    int       `json:"late"`    // of them, studies to which an object came soon after they were complete
	Pauses  []Pause   `json:"pauses"`  // of the latest studies, oldest first
	Last    time.Time `json:"last"`    // completion of the latest study
}

// Pause is the longest time between two objects of one study, within an association or between two.
type Pause struct {
	Longest time.Duration `json:"longest"`
	Late    bool          `json:"late,omitempty"` // the study counted as complete during this pause
}

// Learnt reports whether enough studies came for a quiet period of the sender's own.
func (s Sender) Learnt() bool { return len(s.Pauses) >= learntFrom }

// LongestPause returns the longest pause in the latest studies.
func (s Sender) LongestPause() (longest time.Duration) {
	for _, p := range s.Pauses {
		longest = max(longest, p.Longest)
	}
	return longest
}

// Quiet returns the quiet period for studies of the sender, between least and the configured one: one and a half times the third longest
// pause of the latest 128 studies, or of any pause during which a study wrongly counted as complete. With fewer than 50 studies
// the longest pause counts. A sender of fewer than 8 studies gets the configured period.
func (s Sender) Quiet(least, configured time.Duration) time.Duration {
	if !s.Learnt() {
		return configured
	}
	longest := s.quantile(0.98)
	for _, p := range s.Pauses {
		if p.Late {
			longest = max(longest, p.Longest)
		}
	}
	quiet := max(longest+longest/2, least)
	return min((quiet+quietStep-1)/quietStep*quietStep, configured)
}

// usual returns a silence after which the sender has mostly, but not always, sent all of a study.
func (s Sender) usual(configured time.Duration) time.Duration {
	if !s.Learnt() {
		return min(time.Second, max(configured/4, leastPause))
	}
	median := s.quantile(0.5)
	return max(median+median/5, leastPause)
}

func (s Sender) quantile(q float64) time.Duration {
	sorted := make([]time.Duration, len(s.Pauses))
	for i, p := range s.Pauses {
		sorted[i] = p.Longest
	}
	slices.Sort(sorted)
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func (s *Sender) add(p Pause) {
	s.Pauses = append(s.Pauses, p)
	if more := len(s.Pauses) - learntMost; more > 0 {
		s.Pauses = slices.Delete(s.Pauses, 0, more)
	}
}

// Senders returns what is learnt of each sender, in the order of their titles.
func (a *Assembler) Senders() []Sender {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []Sender
	for _, s := range a.senders {
		list = append(list, s.copy())
	}
	slices.SortFunc(list, func(x, y Sender) int { return strings.Compare(x.AETitle, y.AETitle) })
	return list
}

func (s Sender) copy() Sender {
	s.Pauses = slices.Clone(s.Pauses)
	return s
}

// known returns what is known of a peer, which may be nothing. a.mu is held.
func (a *Assembler) known(title string) *Sender {
	if s := a.senders[title]; s != nil {
		return s
	}
	return &Sender{AETitle: title}
}

// sender returns what is known of a peer, to add to it. a.mu is held.
func (a *Assembler) sender(title string) *Sender {
	s := a.senders[title]
	if s != nil {
		return s
	}
	if len(a.senders) >= mostSenders {
		oldest := ""
		for t, s := range a.senders {
			if oldest == "" || s.Last.Before(a.senders[oldest].Last) {
				oldest = t
			}
		}
		delete(a.senders, oldest)
	}
	s = &Sender{AETitle: title}
	a.senders[title] = s
	return s
}

// paused notes the pause before an object of g that arrives now. Only a pause made by one sender says something about it: not
// one between two senders, across a restart, or while this node refused objects. a.mu is held.
func (a *Assembler) paused(g *gathering, title string, now time.Time) {
	if g.sender == title && title != "" && !a.refused.After(g.last) { // g.sender of a new study is empty
		g.longest, g.pauses = max(g.longest, now.Sub(g.last)), g.pauses+1
	}
	g.sender = title
	if title != "" && !slices.Contains(g.senders, title) {
		g.senders = append(g.senders, title)
	}
}

// ended is a study that counted as complete because its sender was quiet.
type ended struct {
	sender string
	last   time.Time // arrival of its last object
}

// late raises the quiet period of a sender that continues a study which counted as complete. A pause beyond the configured
// period teaches nothing: no quiet period would have bridged it. a.mu is held.
func (a *Assembler) late(study, title string, now time.Time) {
	e, ok := a.ended[study]
	delete(a.ended, study)
	if !ok || e.sender != title || a.refused.After(e.last) || now.Sub(e.last) > a.opts.Quiet {
		return
	}
	s := a.sender(title)
	s.Late++
	s.add(Pause{now.Sub(e.last), true})
	a.learnt[title] = true
}

// learn records the pauses of a study that is complete. a.mu is held.
func (a *Assembler) learn(study string, g *gathering, quiet bool, now time.Time) {
	for other, e := range a.ended {
		if now.Sub(e.last) > a.opts.Quiet {
			delete(a.ended, other)
		}
	}
	if g.sender == "" || len(g.senders) != 1 {
		return
	}
	if quiet {
		a.ended[study] = ended{g.sender, g.last}
	}
	if g.pauses == 0 || g.resumed {
		return
	}
	s := a.sender(g.sender)
	s.Studies++
	s.Last = now
	s.add(Pause{Longest: g.longest})
	a.learnt[g.sender] = true
}

// quietOf returns the quiet period of a study: the longest of those of its senders. While a peer is known to have more objects
// than arrived, it is the configured one. a.mu is held.
func (a *Assembler) quietOf(g *gathering) time.Duration {
	if len(g.senders) == 0 || g.resumed || g.expected > 0 && !g.reached {
		return a.opts.Quiet
	}
	quiet := time.Duration(0)
	for _, title := range g.senders {
		quiet = max(quiet, a.known(title).Quiet(a.opts.Least, a.opts.Quiet))
	}
	return quiet
}

// ripe returns when a study is likely to be complete, before it counts as complete; false if that is not to be expected.
// a.mu is held.
func (a *Assembler) ripe(g *gathering) (time.Time, bool) {
	if g.told || g.open > 0 || g.sender == "" || g.expected > 0 && !g.reached {
		return time.Time{}, false
	}
	usual := time.Duration(0)
	for _, title := range g.senders {
		usual = max(usual, a.known(title).usual(a.opts.Quiet))
	}
	return g.last.Add(usual), usual < a.quietOf(g)
}
