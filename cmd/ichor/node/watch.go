package node

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"ichor/reporting/web"
)

const (
	watchInterval = 15 * time.Second
	watchPause    = 300 * time.Millisecond // after something has happened
	repeatAlarm   = 24 * time.Hour         // an alarm that lasts is logged again
)

// watch logs alarms when they begin, every day while they last, and when they end; and when the node becomes ready or stops
// being so. It also keeps the mark by which the next start sees a crash.
func (n *Node) watch(ctx context.Context) error {
	w := watcher{log: n.log, told: map[string]time.Time{}}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		w.tell(n.Ready(), n.alarms(n.destinationsNow()), now())
		n.mark()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-n.news:
			select { // events come in crowds
			case <-ctx.Done():
				return nil
			case <-time.After(watchPause):
			}
		}
	}
}

// happened makes watch look soon.
func (n *Node) happened() {
	select {
	case n.news <- struct{}{}:
	default:
	}
}

// watcher remembers what was logged.
type watcher struct {
	log      *slog.Logger
	told     map[string]time.Time // by title
	notReady string               // that was logged
	before   bool                 // not ready at the look before
}

func (w *watcher) tell(ready error, alarms []web.Alarm, at time.Time) {
	lasts := ready != nil && w.before // a queue that is still starting is no reason to wake anyone
	w.before = ready != nil
	switch {
	case lasts && ready.Error() != w.notReady:
		w.log.Warn("not ready", "err", ready)
		w.notReady = ready.Error()
	case ready == nil && w.notReady != "":
		w.log.Info("ready again")
		w.notReady = ""
	}
	now := map[string]bool{}
	for _, a := range alarms {
		key := a.Title()
		if now[key] = true; a.Name == "not-ready" && !lasts {
			continue
		}
		if last, ok := w.told[key]; ok && at.Sub(last) < repeatAlarm {
			continue
		}
		w.told[key] = at
		level := slog.LevelWarn
		if a.Severity == web.Critical {
			level = slog.LevelError
		}
		args := []any{"alarm", a.Name}
		if a.Subject != "" {
			args = append(args, "subject", a.Subject)
		}
		if !a.Foreign {
			args = append(args, "err", a.Text)
		}
		if !a.Since.IsZero() {
			args = append(args, "since", a.Since)
		}
		w.log.Log(context.Background(), level, "needs attention", append(args, "remedy", a.Remedy)...)
	}
	for key := range w.told {
		if !now[key] {
			delete(w.told, key)
			w.log.Info("alarm is over", "alarm", key)
		}
	}
}

// markFile is in the state folder while a node runs; its time is when it was last alive.
const markFile = "running"

func (n *Node) markPath() string { return filepath.Join(n.config.State, markFile) }

// mark says that the node is alive. What goes wrong here does not matter: a full disk has its own alarm.
func (n *Node) mark() {
	at := time.Now()
	if err := os.Chtimes(n.markPath(), at, at); errors.Is(err, fs.ErrNotExist) {
		_ = os.WriteFile(n.markPath(), nil, 0o640)
	}
}

// foundMark returns when a node that did not stop in order was last alive.
func (n *Node) foundMark() time.Time {
	info, err := os.Stat(n.markPath())
	if err != nil {
		return time.Time{}
	}
	return info.ModTime().UTC()
}

func (n *Node) removeMark() { _ = os.Remove(n.markPath()) }
