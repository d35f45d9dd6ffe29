package queue

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	startTime    = 20 * time.Second // long, for a busy machine
	maxServerRAM = 64 << 20         // for memory streams; we have none
	maxPayload   = 1 << 20
)

// serve starts the embedded server: no port, every write synced, no signal handler, our logger.
func serve(o Options) (*server.Server, error) {
	if o.Dir == "" {
		return nil, fmt.Errorf("embedded queue without a folder")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("queue folder: %w; make it writable for this user", err)
	}
	// Do not read files of an earlier run: the server loops forever on some damaged files (2.15.2, recovering consumers
	// and messages), and state has their contents. Only jobs that an earlier version gave up are taken over.
	store := filepath.Join(o.Dir, "jetstream")
	if letters, err := filepath.Glob(filepath.Join(store, "*", "streams", deadStream1)); err != nil || len(letters) == 0 {
		if err := errors.Join(err, os.RemoveAll(store)); err != nil {
			return nil, fmt.Errorf("queue folder: %w; make it writable for this user", err)
		}
	}
	srv, err := server.NewServer(&server.Options{
		ServerName:             "ichor",
		DontListen:             true,
		NoSigs:                 true,
		JetStream:              true,
		StoreDir:               o.Dir,
		SyncAlways:             true, // the default syncs every two minutes and loses acknowledged jobs on power failure
		SyncInterval:           time.Minute,
		JetStreamMaxMemory:     maxServerRAM,
		JetStreamMaxStore:      o.MaxBytes,
		MaxPayload:             maxPayload,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, fmt.Errorf("embedded queue in %s: %w", o.Dir, err)
	}
	srv.SetLoggerV2(serverLog{o.Logger}, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(startTime) {
		srv.Shutdown()
		return nil, fmt.Errorf("embedded queue in %s not ready after %v; see the log for its reason", o.Dir, startTime)
	}
	if !srv.JetStreamEnabled() {
		srv.Shutdown()
		return nil, fmt.Errorf("embedded queue in %s: JetStream not enabled; check that the folder is writable and the disk has space", o.Dir)
	}
	return srv, nil
}

// serverLog passes on the server's log messages; its notices are needed only for debugging.
type serverLog struct{ *slog.Logger }

func (l serverLog) Noticef(format string, v ...any) { l.say(l.Debug, format, v) }
func (l serverLog) Warnf(format string, v ...any)   { l.say(l.Warn, format, v) }
func (l serverLog) Errorf(format string, v ...any)  { l.say(l.Error, format, v) }
func (l serverLog) Fatalf(format string, v ...any)  { l.say(l.Error, format, v) }
func (l serverLog) Debugf(string, ...any)           {}
func (l serverLog) Tracef(string, ...any)           {}

func (l serverLog) say(log func(string, ...any), format string, v []any) {
	log("queue server", "text", fmt.Sprintf(format, v...))
}
