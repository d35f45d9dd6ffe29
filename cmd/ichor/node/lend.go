package node

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ichor/pipeline"
	"ichor/pipeline/queue"
	"ichor/pipeline/state"
	"ichor/reporting/web"
	"ichor/scp/secure"
	"ichor/scp/spool"
)

// lending serves studies to the workers of other machines, and takes their results.
type lending struct {
	listener net.Listener // TLS
	mu       sync.Mutex
	workers  map[string]web.Worker // by name
}

// mostWorkers bounds what is remembered for display.
const mostWorkers = 1000

// openLending opens the port for workers. credentials are those of workers.certificate and so on.
func (n *Node) openLending(ctx context.Context) error {
	w := n.config.Workers
	if w.Listen == "" {
		return nil
	}
	credentials, err := secure.Open(secure.Files{Certificate: w.Certificate, Key: w.Key, CA: w.CA, CRL: w.CRL}, n.log)
	if err != nil {
		return fmt.Errorf("workers: %w", err)
	}
	l, err := listen(ctx, "workers.listen", w.Listen)
	if err != nil {
		return err
	}
	n.lending = &lending{listener: tls.NewListener(l, credentials.Server(true)), workers: map[string]web.Worker{}}
	return nil
}

// serves returns the URL of the port for workers, empty if there is none.
func (n *Node) serves() string {
	if n.lending == nil {
		return ""
	}
	_, port, _ := net.SplitHostPort(n.lending.listener.Addr().String())
	if u, err := url.Parse(n.config.Workers.URL); err == nil && u.Host != "" {
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), port)
		}
		return strings.TrimSuffix(u.String(), "/")
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return "https://" + net.JoinHostPort(host, port)
}

// lend serves workers until ctx is done.
func (n *Node) lend(ctx context.Context) error {
	if n.lending == nil {
		return nil
	}
	return serveUntil(ctx, &http.Server{Handler: n.lendingHandler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, ErrorLog: quietLog(n.log)}, n.lending.listener)
}

func (n *Node) lendingHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+workersPath+"hello", n.hello)
	for path, h := range map[string]func(http.ResponseWriter, *http.Request, state.Case) error{
		"POST begin": n.lendBegin, "GET heads": n.lendHeads, "GET objects/{number}": n.lendObject, "POST result": n.lendResult,
		"POST failed": n.lendFailed, "POST putoff": n.lendPutOff,
	} {
		method, rest, _ := strings.Cut(path, " ")
		mux.HandleFunc(method+" "+workersPath+"jobs/{case}/{revision}/"+rest, func(w http.ResponseWriter, r *http.Request) {
			c, err := n.lent(r)
			if err == nil {
				err = h(w, r, c)
			}
			if err != nil {
				http.Error(w, oneLineOf(err), statusOf(err))
			}
		})
	}
	return mux
}

// Errors of requests, with their meaning for the worker.
var (
	errDone  = errors.New("the job is done or no longer needed")
	errLater = errors.New("try again later")
	errAsked = errors.New("not a request of a worker")
)

func statusOf(err error) int {
	switch {
	case errors.Is(err, errDone), errors.Is(err, state.ErrStale):
		return http.StatusGone
	case errors.Is(err, state.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, errLater):
		return http.StatusConflict
	case errors.Is(err, errAsked), errors.Is(err, pipeline.ErrForeign):
		return http.StatusUnprocessableEntity
	}
	return http.StatusServiceUnavailable
}

func oneLineOf(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// lent returns the case of a request if its revision is still to be analysed.
func (n *Node) lent(r *http.Request) (state.Case, error) {
	revision, err := strconv.Atoi(r.PathValue("revision"))
	if err != nil {
		return state.Case{}, fmt.Errorf("revision %q: %w", r.PathValue("revision"), errAsked)
	}
	c, err := n.store.Case(state.CaseID(r.PathValue("case")))
	if err == nil && (c.Phase != state.Queued || c.Revision != revision) {
		err = errDone
	}
	return c, err
}

func answer(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

// mostOrder bounds the small requests of a worker.
const mostOrder = 1 << 20

// greeting is how a worker introduces itself.
type greeting struct {
	Worker string `json:"worker"`
	Busy   int    `json:"busy"` // studies it analyses at the moment
	identity
}

// hello compares a worker with this node. A worker that differs takes no jobs; it and this node show why.
func (n *Node) hello(w http.ResponseWriter, r *http.Request) {
	var g greeting
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostOrder)).Decode(&g); err != nil {
		http.Error(w, oneLineOf(err), http.StatusBadRequest)
		return
	}
	seen := web.Worker{Name: g.Worker, Address: r.RemoteAddr, Version: g.Version, Busy: g.Busy, Last: now()}
	err := n.engine.identity(n.version).differs(g.identity, "the node", "on the node", "the worker")
	if err != nil {
		seen.Refused = err.Error()
	}
	n.lending.mu.Lock()
	if _, known := n.lending.workers[g.Worker]; known || len(n.lending.workers) < mostWorkers {
		n.lending.workers[g.Worker] = seen
	}
	n.lending.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	_ = answer(w, g.identity) // fails if the worker has gone
}

// workers lists the workers that asked for jobs, for display.
func (n *Node) workers() []web.Worker {
	list := []web.Worker{}
	if n.lending == nil {
		return list
	}
	n.lending.mu.Lock()
	defer n.lending.mu.Unlock()
	for _, w := range n.lending.workers {
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b web.Worker) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// lendBegin records that an analysis begins, and answers with the objects. If this node has an early result, it stores that.
func (n *Node) lendBegin(w http.ResponseWriter, r *http.Request, c state.Case) error {
	c, err := n.store.Begin(c.ID, c.Revision, now())
	if err != nil {
		return err
	}
	if err := n.lost(c); err != nil {
		if stood := n.stand(c, err); stood != nil {
			return stood
		}
		return fmt.Errorf("%w: %w", errDone, err)
	}
	objects := n.spool.Study(c.StudyInstanceUID)
	if early := n.early.take(r.Context(), c.StudyInstanceUID, objects); early != nil {
		early.Finding.Complete = c.Complete
		traceAnalysis(n.traces, c.ID, c.Revision, now(), early, nil)
		if _, err := n.conclude(r.Context(), c, objects, early); err != nil {
			return err
		}
		return errDone
	}
	var t task
	for _, o := range objects {
		t.Objects = append(t.Objects, taskObject{o.SHA256, o.Size})
	}
	n.log.Info("study lent to a worker", "case", c.ID, "peer", r.RemoteAddr)
	return answer(w, t)
}

// lendHeads sends the beginning of each object, each with its length before it.
func (n *Node) lendHeads(w http.ResponseWriter, _ *http.Request, c state.Case) error {
	for _, o := range n.spool.Study(c.StudyInstanceUID) {
		head := make([]byte, min(o.Size, headBytes))
		err := n.readObject(o, func(in *spool.Reader) error {
			_, err := in.ReadAt(head, 0)
			return err
		})
		if err != nil {
			return err
		}
		if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(head))), head...)); err != nil {
			return nil // the worker has gone
		}
	}
	return nil
}

func (n *Node) lendObject(w http.ResponseWriter, r *http.Request, c state.Case) error {
	objects := n.spool.Study(c.StudyInstanceUID)
	i, err := strconv.Atoi(r.PathValue("number"))
	if err != nil || i < 0 || i >= len(objects) {
		return fmt.Errorf("object %q of %d: %w", r.PathValue("number"), len(objects), errAsked)
	}
	return n.readObject(objects[i], func(in *spool.Reader) error {
		w.Header().Set("Content-Length", strconv.FormatInt(in.Size(), 10))
		_, _ = io.Copy(w, in) // fails if the worker has gone
		return nil
	})
}

func (n *Node) readObject(o spool.Object, use func(*spool.Reader) error) (err error) {
	in, err := n.spool.Read(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	return use(in)
}

// lendResult stores a result. It can be repeated.
func (n *Node) lendResult(w http.ResponseWriter, r *http.Request, c state.Case) error {
	found, err := readResult(http.MaxBytesReader(w, r.Body, 2*mostVoxels))
	if err != nil {
		return fmt.Errorf("%w: %w", errAsked, err)
	}
	if _, busy := n.working.LoadOrStore(c.ID, true); busy {
		return fmt.Errorf("a result of the case is being stored: %w", errLater)
	}
	defer n.working.Delete(c.ID)
	defer n.early.drop(c.StudyInstanceUID)
	objects := n.spool.Study(c.StudyInstanceUID)
	a, err := n.engine.Adopter.Adopt(r.Context(), n.studyOf(c.StudyInstanceUID, c.Complete, objects), found)
	if err != nil {
		return err
	}
	f, err := n.conclude(r.Context(), c, objects, a)
	if err != nil {
		return err
	}
	n.log.Info("study done", "case", c.ID, "stage", "analysis", "status", f.Status, "peer", r.RemoteAddr, "code", f.Code)
	return nil
}

func (n *Node) lendFailed(w http.ResponseWriter, r *http.Request, c state.Case) error {
	reason, err := reasonOf(w, r)
	if err != nil {
		return err
	}
	tries, again, err := n.failed(r.Context(), queue.Job{CaseID: c.ID, Revision: c.Revision}, fmt.Errorf("on worker %s: %s", r.RemoteAddr, reason))
	if err != nil {
		return err
	}
	return answer(w, verdict{Tries: tries, Again: again})
}

func (n *Node) lendPutOff(w http.ResponseWriter, r *http.Request, c state.Case) error {
	reason, err := reasonOf(w, r)
	if err != nil {
		return err
	}
	var why error
	if reason != "" {
		why = errors.New(reason)
	}
	return n.putOff(r.Context(), queue.Job{CaseID: c.ID, Revision: c.Revision}, why)
}

func reasonOf(w http.ResponseWriter, r *http.Request) (string, error) {
	var v verdict
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostOrder)).Decode(&v); err != nil {
		return "", fmt.Errorf("%w: %w", errAsked, err)
	}
	return v.Reason, nil
}
