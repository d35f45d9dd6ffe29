package main

import (
	"context"
	"log/slog"
	"os"
	"strings"

	"ichor/cmd/ichor/node"
)

// reload reads the configuration again at each signal of hup, until ctx is done. A file that is refused changes nothing.
func reload(ctx context.Context, hup <-chan os.Signal, s *settings, n *node.Node, log *slog.Logger, level *slog.LevelVar) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		}
		n.AnnounceReload()
		c, err := s.load()
		var taken, restart []string
		if err == nil {
			taken, restart, err = n.Reload(c)
		}
		if err != nil {
			n.NotReloaded(err)
			log.Error("configuration not reloaded, the earlier one stays in use", "err", oneLine(err))
		} else {
			level.Set(levelOf(c.Log))
			log.Info("configuration reloaded", "changed", strings.Join(taken, " "))
			if len(restart) > 0 {
				log.Warn("new values that need a restart are not in use yet", "keys", strings.Join(restart, " "))
			}
		}
		n.AnnounceReloaded()
	}
}
