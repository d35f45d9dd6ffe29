package node

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"ichor/config"
	"ichor/reporting/events"
	"ichor/scp"
)

// reloadable are the settings that Reload takes over. The level of the log belongs to the logger's owner.
var reloadable = []string{"dicom.peers", "http.token", "http.token_file", "log.level"}

// used are the settings in use, and why others are not.
type used struct {
	mu      sync.Mutex
	allowed bool          // the parts that Reload changes are there
	config  config.Config // the file as last taken over
	waiting []string      // keys whose new values need a restart
	refused error         // why the newest file is not in use, nil if it is
	since   time.Time     // when it was refused
}

func (s *used) allow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed = true
}

// Reload takes over what may change while the node runs: who may connect, and the token of the web interface. Associations that
// are open stay open. It returns the keys that it took over, and those whose new values need a restart. On error nothing has
// changed.
func (n *Node) Reload(c config.Config) (taken, restart []string, err error) {
	n.inUse.mu.Lock()
	defer n.inUse.mu.Unlock()
	if !n.inUse.allowed {
		return nil, nil, errors.New("the node waits for its disk; reload again when it has it")
	}
	if c, err = WithChoice(c); err != nil {
		return nil, nil, err
	}
	token, err := c.HTTP.ReadToken()
	if err != nil {
		return nil, nil, err
	}
	peers, any, err := n.peersOf(c.DICOM)
	if err != nil {
		return nil, nil, err
	}
	// Certificates are loaded at the start, and only if something uses them.
	wait := n.credentials == nil && slices.ContainsFunc(c.DICOM.Peers, func(p config.Peer) bool { return p.TLS })
	for _, key := range config.Diff(n.inUse.config, c) {
		if slices.Contains(reloadable, key) && !(wait && key == "dicom.peers") {
			taken = append(taken, key)
		}
	}
	for _, key := range config.Diff(n.config, c) { // with the start: a second reload still names what the first could not take over
		if !slices.Contains(reloadable, key) || wait && key == "dicom.peers" {
			restart = append(restart, key)
		}
	}
	if !wait {
		if err := n.server.SetPeers(peers, any); err != nil {
			return nil, nil, err
		}
		n.lookUp(c)
	}
	was := n.token
	n.token = token
	if was != token && !slices.Contains(taken, "http.token_file") && c.HTTP.TokenFile != "" {
		taken = append(taken, "http.token_file") // the same file with another token
	}
	n.show(n.web())
	n.inUse.config, n.inUse.waiting, n.inUse.refused = c, restart, nil
	n.recordReload(taken, restart)
	n.happened()
	return taken, restart, nil
}

// NotReloaded records why a changed configuration is not in use, for the alarms and the status line of the service.
func (n *Node) NotReloaded(err error) {
	n.inUse.mu.Lock()
	defer n.inUse.mu.Unlock()
	n.inUse.refused, n.inUse.since = err, now()
	if n.inUse.allowed { // otherwise the event log is not open yet
		n.events.Append(events.Event{Kind: events.Changed, Outcome: "refused", Detail: "the changed configuration is not in use; the log says why"})
	}
	n.happened()
}

// refusedFile returns why and since when a changed configuration is not in use; nil: it is.
func (n *Node) refusedFile() (time.Time, error) {
	n.inUse.mu.Lock()
	defer n.inUse.mu.Unlock()
	return n.inUse.since, n.inUse.refused
}

// unused says in one line what of the configuration file is not in use, "" if all of it is.
func (n *Node) unused() string {
	n.inUse.mu.Lock()
	defer n.inUse.mu.Unlock()
	switch {
	case n.inUse.refused != nil:
		return "the changed configuration is not in use: " + oneLineOf(n.inUse.refused)
	case len(n.inUse.waiting) > 0:
		return "restart to use the new values of " + strings.Join(n.inUse.waiting, ", ")
	}
	return ""
}

// peersOf returns who may connect, and whether others may too. The self-test always may.
func (n *Node) peersOf(c config.DICOM) (peers []scp.Peer, any bool, err error) {
	for _, p := range c.Peers {
		prefixes, err := p.Prefixes()
		if err != nil {
			return nil, false, err
		}
		peers = append(peers, scp.Peer{
			AETitle: p.AETitle, Prefixes: prefixes, Certificates: p.Certificates,
			Username: p.Username, Passcode: p.Passcode, MaxAssociations: p.MaxAssociations,
			Listens: p.Address != "",
		})
		n.callers.expect(p.AETitle)
	}
	any = len(peers) == 0
	if n.canary.door != nil {
		peers = append(peers, n.canary.peer())
	}
	return peers, any, nil
}
