package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	discarding = "dcmtk storescp, discards" // the upper bound set by the sender
	noDelay    = 1                          // column of TCP_NODELAY
)

// peer is a receiving program. Each measurement starts it again with an empty folder.
type peer struct {
	name    string
	program string
	start   func(dir string, port, other int) *exec.Cmd
}

func (b *bench) peers() []peer {
	all := []peer{
		{"ichor", b.ichor, func(dir string, port, other int) *exec.Cmd {
			// The study never counts as complete, so only reception is measured.
			cmd := exec.Command(b.ichor, "serve", "--state", dir, "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--http", fmt.Sprintf("127.0.0.1:%d", other))
			cmd.Env = append(os.Environ(), "ICHOR_ASSEMBLY_QUIET_PERIOD=1h", "ICHOR_ASSEMBLY_LIMIT=2h", "ICHOR_CANARY_START=false")
			return cmd
		}},
		{"dcmtk storescp (not durable)", "/usr/bin/storescp", func(dir string, port, _ int) *exec.Cmd {
			return exec.Command("/usr/bin/storescp", "--fork", "+B", "-od", dir, strconv.Itoa(port))
		}},
		{discarding, "/usr/bin/storescp", func(dir string, port, _ int) *exec.Cmd {
			return exec.Command("/usr/bin/storescp", "--fork", "--ignore", strconv.Itoa(port))
		}},
		{"Orthanc", "/usr/sbin/Orthanc", func(dir string, port, other int) *exec.Cmd {
			settings, _ := json.Marshal(map[string]any{ // plain values: cannot fail
				"DicomAet": "ICHOR", "DicomPort": port, "HttpPort": other, "StorageDirectory": dir, "IndexDirectory": dir,
				"RemoteAccessAllowed": false, "AuthenticationEnabled": false, "DicomAlwaysAllowStore": true, "Plugins": []string{},
			})
			file := filepath.Join(dir, "orthanc.json")
			_ = os.WriteFile(file, settings, 0o600) // if this fails, Orthanc reports the missing file
			return exec.Command("/usr/sbin/Orthanc", file)
		}},
		{"dicom-rs storescp (not durable)", b.dicomRS, func(dir string, port, _ int) *exec.Cmd {
			return exec.Command(b.dicomRS, "--calling-ae-title", "ICHOR", "--max-pdu-length", "131072", "-o", dir, "-p", strconv.Itoa(port))
		}},
		{"pynetdicom, with fsync", b.python, func(dir string, port, _ int) *exec.Cmd {
			return exec.Command(b.python, "-c", pynetdicomScript, dir, strconv.Itoa(port))
		}},
	}
	var there []peer
	for _, n := range all {
		if _, err := os.Stat(n.program); err == nil {
			there = append(there, n)
		}
	}
	return there
}

// pynetdicomScript stores objects as in pynetdicom's documentation, and syncs file and folder before it answers.
const pynetdicomScript = `
import os, sys
from pynetdicom import AE, StoragePresentationContexts, evt
dir, port = sys.argv[1], int(sys.argv[2])
folder = os.open(dir, os.O_RDONLY)
def store(event):
    with open(os.path.join(dir, event.request.AffectedSOPInstanceUID), "wb") as f:
        f.write(event.encoded_dataset())
        f.flush()
        os.fsync(f.fileno())
    os.fsync(folder)
    return 0
ae = AE("ICHOR")
ae.maximum_pdu_size = 131072
for c in StoragePresentationContexts:
    ae.add_supported_context(c.abstract_syntax)
ae.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, store)])
`

// reception prints instances per second, from the start of the first storescu to the end of the last.
func (b *bench) reception(ctx context.Context) error {
	const sender = "/usr/bin/storescu"
	if _, err := os.Stat(sender); err != nil {
		fmt.Println("reception: skipped, storescu is missing (Debian package dcmtk)")
		return nil
	}
	columns := []struct {
		name         string
		associations int
		env          []string
	}{{"1 assoc.", 1, nil}, {"1 assoc., TCP_NODELAY", 1, []string{"TCP_NODELAY=1"}}, {"8 assoc.", 8, nil}}
	objects, err := loadObjects(b.studies[:studies/2])
	if err != nil {
		return err
	}
	raw, short := make([]float64, 0, b.rounds), make([]float64, 0, b.rounds)
	results := map[string]*received{}
	for range b.rounds {
		object, err := b.appendSync(objectBytes)
		if err != nil {
			return err
		}
		page, err := b.appendSync(4096)
		if err != nil {
			return err
		}
		raw, short = append(raw, object), append(short, page)
		for _, n := range b.peers() {
			r := results[n.name]
			if r == nil {
				r = &received{rates: make([][]float64, len(columns))}
				results[n.name] = r
			}
			for i, c := range columns {
				rate, err := b.receive(ctx, n, c.env, func(ctx context.Context, port int) (int, error) { return b.storescu(ctx, port, c.associations, c.env) })
				if err != nil {
					return fmt.Errorf("%s, %s: %w", n.name, c.name, err)
				}
				r.rates[i] = append(r.rates[i], rate)
			}
			rate, err := b.receive(ctx, n, []string{"TCP_NODELAY=1"}, func(ctx context.Context, port int) (int, error) {
				return len(objects), r.time(ctx, local(port), objects)
			})
			if err != nil {
				return fmt.Errorf("%s, from memory: %w", n.name, err)
			}
			r.memory = append(r.memory, rate)
		}
	}
	fmt.Printf("\nReception: instances/s of 0.5 MB from dcmtk storescu, median; all except storescp sync each object to disk before they answer.\n"+
		"Each node was left idle for %v after its start.\nFrom memory: one association, objects already in memory; ms from the end of an object to its response\n", rest)
	t := table()
	fmt.Fprint(t, "\t")
	for _, c := range columns {
		fmt.Fprintf(t, "%s\t", c.name)
	}
	fmt.Fprintln(t, "from memory\tms median\tms p99\t")
	for _, n := range b.peers() {
		r := results[n.name]
		fmt.Fprintf(t, "%s\t", n.name)
		for i := range columns {
			fmt.Fprintf(t, "%.0f\t", median(r.rates[i]))
		}
		slices.Sort(r.ms)
		fmt.Fprintf(t, "%.0f\t%.2f\t%.1f\t\n", median(r.memory), median(r.ms), r.ms[len(r.ms)*99/100])
	}
	fmt.Fprintf(t, "append + fdatasync of this disk\t%.0f\t\t\t\t\t\t\n", median(raw))
	if err := t.Flush(); err != nil {
		return err
	}
	ichor, discards := results["ichor"], results[discarding]
	if discards == nil {
		return nil
	}
	bound := make([]float64, b.rounds) // a receiver that takes no time but that of a sync
	for i, rate := range discards.rates[noDelay] {
		bound[i] = 1 / (1/rate + 1/short[i])
	}
	fmt.Printf("Medians of the ratios in each round: ichor from memory to append + fdatasync %.2f; with TCP_NODELAY to discarding %.2f.\n"+
		"An append of 4 KiB + fdatasync takes %.2f ms. Discarding, and this after each object, would reach %.2f of discarding.\n",
		medianRatio(ichor.memory, raw), medianRatio(ichor.rates[noDelay], discards.rates[noDelay]), 1000/median(short), medianRatio(bound, discards.rates[noDelay]))
	return nil
}

// medianRatio returns the median of a[i] / b[i].
func medianRatio(a, b []float64) float64 {
	var list []float64
	for i := range a {
		list = append(list, a[i]/b[i])
	}
	return median(list)
}

// rest is how long every node is left idle before the measurement.
const rest = 6 * time.Second

// received collects the figures of one node over all rounds.
type received struct {
	rates  [][]float64 // instances per second, by column
	memory []float64   // instances per second, sent from memory
	ms     []float64   // from the end of an object to its response
}

// receive starts a node, calls send, and returns instances per second.
func (b *bench) receive(ctx context.Context, n peer, env []string, send func(ctx context.Context, port int) (sent int, err error)) (float64, error) {
	dir, err := os.MkdirTemp(b.work, "node-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	port, other, err := freePorts()
	if err != nil {
		return 0, err
	}
	cmd := n.start(dir, port, other)
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, env...)
	stop, err := startNode(ctx, cmd, port)
	if err != nil {
		return 0, err
	}
	defer stop()
	select { // ichor preallocates segments while idle
	case <-time.After(rest):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	start := time.Now()
	sent, err := send(ctx, port)
	return float64(sent) / time.Since(start).Seconds(), err
}

// storescu sends over this many associations at once.
func (b *bench) storescu(ctx context.Context, port, associations int, env []string) (sent int, err error) {
	g, ctx := errgroup.WithContext(ctx)
	for i := range associations {
		folders := b.studies[i : i+1]
		if associations == 1 {
			folders = b.studies[:studies/2]
		}
		sent += 32 * len(folders)
		args := append([]string{"-aec", "ICHOR", "+sd", "127.0.0.1", strconv.Itoa(port)}, folders...)
		g.Go(func() error {
			send := exec.CommandContext(ctx, "/usr/bin/storescu", args...)
			send.Env = append(os.Environ(), env...)
			if out, err := send.CombinedOutput(); err != nil {
				return fmt.Errorf("storescu: %w\n%s", err, out)
			}
			return nil
		})
	}
	return sent, g.Wait()
}

// startNode starts cmd and returns when its port answers. stop ends it.
func startNode(ctx context.Context, cmd *exec.Cmd, port int) (stop func(), err error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // fails if it has already ended
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	}
	for range 600 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return stop, conn.Close()
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("%s ended immediately: %w", cmd.Path, err)
		case <-ctx.Done():
			stop()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	stop()
	return nil, fmt.Errorf("%s does not listen", cmd.Path)
}

func freePorts() (a, b int, err error) {
	var ports []int
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, 0, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports[0], ports[1], nil
}

const objectBytes = 526_000

// appendSync measures the disk itself: it appends objects to one file and syncs after each.
func (b *bench) appendSync(size int) (float64, error) {
	f, err := os.Create(filepath.Join(b.work, "append"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	object := make([]byte, size)
	const objects = 128
	start := time.Now()
	for range objects {
		if _, err := f.Write(object); err != nil {
			return 0, errors.Join(err, f.Close())
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, errors.Join(err, f.Close())
		}
	}
	return objects / time.Since(start).Seconds(), f.Close()
}
