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
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// node is a receiving program that is started anew for each measurement, on an empty folder.
type node struct {
	name    string
	program string
	start   func(dir string, port, other int) *exec.Cmd
}

func (b *bench) nodes() []node {
	all := []node{
		{"ichor", b.ichor, func(dir string, port, other int) *exec.Cmd {
			// The study never counts as complete: reception alone is measured.
			cmd := exec.Command(b.ichor, "serve", "--state", dir, "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--http", fmt.Sprintf("127.0.0.1:%d", other))
			cmd.Env = append(os.Environ(), "ICHOR_ASSEMBLY_QUIET_PERIOD=1h", "ICHOR_ASSEMBLY_LIMIT=2h")
			return cmd
		}},
		{"dcmtk storescp (not durable)", "/usr/bin/storescp", func(dir string, port, _ int) *exec.Cmd {
			return exec.Command("/usr/bin/storescp", "--fork", "+B", "-od", dir, strconv.Itoa(port))
		}},
		{"Orthanc", "/usr/sbin/Orthanc", func(dir string, port, other int) *exec.Cmd {
			settings, _ := json.Marshal(map[string]any{ // plain values: cannot fail
				"DicomAet": "ICHOR", "DicomPort": port, "HttpPort": other, "StorageDirectory": dir, "IndexDirectory": dir,
				"RemoteAccessAllowed": false, "AuthenticationEnabled": false, "DicomAlwaysAllowStore": true, "Plugins": []string{},
			})
			file := filepath.Join(dir, "orthanc.json")
			_ = os.WriteFile(file, settings, 0o600) // Orthanc says so itself when the file is missing
			return exec.Command("/usr/sbin/Orthanc", file)
		}},
	}
	var there []node
	for _, n := range all {
		if _, err := os.Stat(n.program); err == nil {
			there = append(there, n)
		}
	}
	return there
}

// reception prints instances a second, from the first byte of the first storescu to the end of the last.
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

	raw := make([]float64, 0, b.rounds)
	rates := map[string][][]float64{}
	for range b.rounds {
		rate, err := b.appendSync()
		if err != nil {
			return err
		}
		raw = append(raw, rate)
		for _, n := range b.nodes() {
			if rates[n.name] == nil {
				rates[n.name] = make([][]float64, len(columns))
			}
			for i, c := range columns {
				rate, err := b.receive(ctx, n, c.associations, c.env)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", n.name, c.name, err)
				}
				rates[n.name][i] = append(rates[n.name][i], rate)
			}
		}
	}
	fmt.Println("\nReception: instances/s of 0.5 MB from dcmtk storescu, median; ichor and Orthanc sync each to disk before they answer")
	t := table()
	fmt.Fprint(t, "\t")
	for _, c := range columns {
		fmt.Fprintf(t, "%s\t", c.name)
	}
	fmt.Fprintln(t)
	for _, n := range b.nodes() {
		fmt.Fprintf(t, "%s\t", n.name)
		for i := range columns {
			fmt.Fprintf(t, "%.0f\t", median(rates[n.name][i]))
		}
		fmt.Fprintln(t)
	}
	fmt.Fprintf(t, "append + fdatasync of this disk\t%.0f\t\t\t\n", median(raw))
	return t.Flush()
}

// receive starts a node, sends over so many associations at once, and returns instances a second.
func (b *bench) receive(ctx context.Context, n node, associations int, env []string) (float64, error) {
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
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for i := range associations {
		folders := b.studies[i : i+1]
		if associations == 1 {
			folders = b.studies[:studies/2]
		}
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
	err = g.Wait()
	sent := 32 * associations
	if associations == 1 {
		sent = 32 * studies / 2
	}
	return float64(sent) / time.Since(start).Seconds(), err
}

// startNode runs cmd until stop, and returns when its port answers.
func startNode(ctx context.Context, cmd *exec.Cmd, port int) (stop func(), err error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // ended already: as wanted
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
			return nil, fmt.Errorf("%s ended at once: %w", cmd.Path, err)
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

// appendSync is what the disk can do: objects of the same size appended to one file, each synced.
func (b *bench) appendSync() (float64, error) {
	f, err := os.Create(filepath.Join(b.work, "append"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	object := make([]byte, 526_000)
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
