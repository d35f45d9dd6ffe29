package node

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"ichor/pipeline/state"
)

// instances are the instances of a study that a node received: the first 8 bytes of the SHA-256 of each UID, in order.
type instances struct {
	list    []uint64
	told    time.Time
	checked bool // of this node: compared with its spool since the start
}

// receivedNote is what a node tells of a study. A large study takes several notes: each has the instances that begin with Bits bits
// of the number Part, all of them with 0 bits.
type receivedNote struct {
	Node      string       `json:"node"`
	Case      state.CaseID `json:"case"`
	Instances []uint64     `json:"instances"`
	Bits      int          `json:"bits,omitempty"`
	Part      uint64       `json:"part,omitempty"`
}

// mostInNote is how many instances of a study fit in one note: with 21 bytes each, less than half of what a NATS server accepts.
const mostInNote = 20000

// notes splits what this node has of a study. A study that grows replaces its notes by more and smaller ones.
func (r receivedNote) notes() []receivedNote {
	parts := []receivedNote{r}
	for slices.ContainsFunc(parts, func(n receivedNote) bool { return len(n.Instances) > mostInNote }) {
		var halves []receivedNote
		for _, n := range parts {
			at, _ := slices.BinarySearch(n.Instances, (2*n.Part+1)<<(63-n.Bits))
			low, high := n, n
			low.Bits, low.Part, low.Instances = n.Bits+1, 2*n.Part, n.Instances[:at]
			high.Bits, high.Part, high.Instances = n.Bits+1, 2*n.Part+1, n.Instances[at:]
			halves = append(halves, low, high)
		}
		parts = halves
	}
	return parts
}

// key is the name of a note.
func (r receivedNote) key() string {
	key := "received." + string(r.Case) + "." + r.Node
	if r.Bits > 0 {
		key += "." + strconv.FormatUint(r.Part, 10)
	}
	return key
}

// in returns an ordered list with those that a note is about replaced by what it has.
func (r receivedNote) in(list []uint64) []uint64 {
	if r.Bits == 0 {
		return r.Instances
	}
	if r.Bits < 0 || r.Bits > 63 || r.Part>>r.Bits > 0 {
		return list // of no node
	}
	from, _ := slices.BinarySearch(list, r.Part<<(64-r.Bits))
	to := len(list)
	if next := (r.Part + 1) << (64 - r.Bits); next > 0 {
		to, _ = slices.BinarySearch(list, next)
	}
	return slices.Concat(list[:from], r.Instances, list[to:])
}

// tellStudies tells which instances were received of the studies that note named.
func (n *Node) tellStudies() {
	p := n.pair
	p.mu.Lock()
	studies := p.noted
	p.noted = map[string]bool{}
	p.mu.Unlock()
	for study := range studies {
		n.tellStudy(study)
	}
}

func (n *Node) tellStudy(study string) {
	note := receivedNote{Node: n.pair.self, Case: state.IDOf(study)}
	for _, o := range n.spool.Study(study) {
		sum := sha256.Sum256([]byte(o.SOPInstanceUID))
		note.Instances = append(note.Instances, binary.BigEndian.Uint64(sum[:]))
	}
	slices.Sort(note.Instances)
	note.Instances = slices.Compact(note.Instances)
	if !n.pair.check(note, now()) {
		return
	}
	for _, part := range note.notes() {
		raw, err := json.Marshal(part)
		if err != nil {
			n.log.Error("the other node of the pair is not told of a study", "case", note.Case, "err", err)
			return
		}
		n.pair.Tell(part.key(), raw)
	}
}

// check takes what the spool of this node has of a study, and reports whether the other node must be told. Objects that
// were removed after their time were received all the same.
func (p *paired) check(note receivedNote, at time.Time) (tell bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	told, known := p.received[note.Case][p.self]
	if known && (len(note.Instances) == 0 || slices.Equal(told.list, note.Instances)) {
		told.checked = true
		p.received[note.Case][p.self] = told
		return false
	}
	p.put(note, instances{list: note.Instances, told: at, checked: true})
	return true
}

// keep keeps what a node has told of a study. What this node told before its start may be less than it has; what its spool
// said is never replaced by it.
func (p *paired) keep(note receivedNote, told time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if note.Node == p.self && p.received[note.Case][p.self].checked {
		return
	}
	p.put(note, instances{list: note.in(p.received[note.Case][note.Node].list), told: told})
}

// put sets what a node has of a study. p.mu is held.
func (p *paired) put(note receivedNote, i instances) {
	if p.received[note.Case] == nil {
		p.received[note.Case] = map[string]instances{}
	}
	p.received[note.Case][note.Node] = i
}
