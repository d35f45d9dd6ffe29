package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// link is one connection to a server, with stream and consumer.
type link struct {
	srv   *server.Server // nil with an external server
	conn  *nats.Conn
	js    jetstream.JetStream
	jobs  jetstream.Stream
	lanes []jetstream.Consumer // of this node: urgent, then routine
}

func (l *link) close() {
	if l.conn != nil {
		l.conn.Close()
	}
	if l.srv != nil {
		l.srv.Shutdown()
		l.srv.WaitForShutdown()
	}
}

// open starts the embedded server or connects to the external one, and creates stream and consumers.
func (q *Queue) open(ctx context.Context) (_ *link, err error) {
	l, err := q.connect()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if err := q.makeStream(ctx, l); err != nil {
		return nil, err
	}
	if err := q.makeConsumers(ctx, l); err != nil {
		return nil, err
	}
	return l, q.fill(ctx, l)
}

// connect starts the embedded server or connects to the external one.
func (q *Queue) connect() (_ *link, err error) {
	l := &link{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	options := []nats.Option{
		nats.Name("ichor"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnect),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				q.opts.Logger.Warn("queue disconnected", "err", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			q.opts.Logger.Info("queue reconnected")
			if err := checkVersion(c.ConnectedServerVersion()); err != nil { // of another server of the cluster
				q.opts.Logger.Error("the queue is not safe", "err", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			q.opts.Logger.Warn("error on the connection to the queue", "err", err)
		}),
	}
	where := q.opts.URL
	if where == "" {
		if l.srv, err = serve(q.opts); err != nil {
			return nil, err
		}
		options = append(options, nats.InProcessServer(l.srv))
	} else {
		options = append(options, q.opts.access()...)
	}
	if l.conn, err = nats.Connect(where, options...); err != nil {
		return nil, fmt.Errorf("NATS server %q: %w; check queue.url and the files in queue, and that the server is running with JetStream enabled", redact(where), err)
	}
	if l.srv == nil {
		if err := checkVersion(l.conn.ConnectedServerVersion()); err != nil {
			return nil, fmt.Errorf("NATS server %q: %w", redact(where), err)
		}
	}
	if l.js, err = jetstream.New(l.conn); err != nil {
		return nil, fmt.Errorf("JetStream: %w", err)
	}
	return l, nil
}

const formatKey = "ichor.format" // in the metadata of the stream

// makeStream creates the stream, or uses an existing one of this format without writing to it. It rejects a newer format before
// it changes anything. It clears an older format; the nodes submit those jobs again.
func (q *Queue) makeStream(ctx context.Context, l *link) (err error) {
	l.jobs, err = l.js.Stream(ctx, jobsStream)
	format := 1
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		format = 0
	case err != nil:
		return fmt.Errorf("stream %s: %w", jobsStream, err)
	default:
		if raw, ok := l.jobs.CachedInfo().Config.Metadata[formatKey]; ok {
			if format, err = strconv.Atoi(raw); err != nil {
				return fmt.Errorf("stream %s of format %q: %w", jobsStream, raw, err)
			}
		}
	}
	switch {
	case format == formatVersion && l.srv == nil && l.jobs.CachedInfo().Config.Replicas < q.opts.Replicas:
		c := l.jobs.CachedInfo().Config // a server that became a cluster
		c.Replicas = q.opts.Replicas
		if l.jobs, err = l.js.UpdateStream(ctx, c); err != nil {
			return fmt.Errorf("stream %s with queue.replicas %d: %w; a cluster of so many servers is needed", jobsStream, q.opts.Replicas, err)
		}
		return nil
	case format == formatVersion:
		return nil
	case format > formatVersion:
		return fmt.Errorf("stream %s has format %d, this ichor reads up to %d: %w; install that version", jobsStream, format, formatVersion, ErrVersion)
	case format == 1:
		if err := q.migrate(ctx, l); err != nil {
			return err
		}
	}
	l.jobs, err = l.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        jobsStream,
		Description: "ichor: studies to analyse",
		Subjects:    []string{jobsSubject + ">"},
		Retention:   jetstream.WorkQueuePolicy,
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardNew, // a full queue rejects new jobs; it never drops old ones
		MaxMsgSize:  maxJobBytes,
		Replicas:    q.opts.Replicas,
		Metadata:    map[string]string{formatKey: strconv.Itoa(formatVersion)},
	})
	if err != nil {
		return fmt.Errorf("stream %s: %w", jobsStream, err)
	}
	return nil
}

// Consumers of a node, one for each lane. An earlier version had one for both, with the name of routineConsumer.
const (
	routineConsumer = "analyze-"
	urgentConsumer  = "urgent-"
)

// servesKey is the key, in the metadata of a routine consumer, of Options.Serves.
const servesKey = "ichor.serves"

// makeConsumers creates the consumers for this node's jobs.
func (q *Queue) makeConsumers(ctx context.Context, l *link) error {
	make := func(name, lane string) (jetstream.Consumer, error) {
		c, err := l.jobs.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
			Durable:       name + q.opts.Node,
			Description:   "ichor: " + lane + " jobs of node " + q.opts.Node,
			FilterSubject: jobsSubject + lane + "." + q.opts.Node + ".>",
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       q.opts.AckWait,
			MaxDeliver:    -1, // state counts tries: the server would keep a job it gave up in the stream forever
			Metadata:      map[string]string{servesKey: q.opts.Serves},
		})
		if err != nil {
			return nil, fmt.Errorf("consumer of stream %s: %w", jobsStream, err)
		}
		return c, nil
	}
	routine, err := make(routineConsumer, laneRoutine) // first: that of an earlier version has both lanes, and filters may not overlap
	if err != nil {
		return err
	}
	urgent, err := make(urgentConsumer, laneUrgent)
	l.lanes = []jetstream.Consumer{urgent, routine}
	return err
}

// fill submits the queued jobs from state to an embedded server, which starts empty.
func (q *Queue) fill(ctx context.Context, l *link) error {
	if l.srv == nil {
		return nil
	}
	jobs, err := q.opts.Queued()
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if err := q.submit(ctx, l, job); err != nil {
			return err
		}
	}
	return nil
}
