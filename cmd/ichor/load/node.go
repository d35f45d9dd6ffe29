package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Node is a node in a process of its own.
type Node struct {
	Address string // DICOM
	cmd     *exec.Cmd
	ended   chan error
}

// StartNode starts "exe serve" with a new state folder in dir that delivers to pacs. settings are KEY=VALUE. Its log goes to
// node.log in dir.
func StartNode(ctx context.Context, exe, dir, pacs string, settings []string) (*Node, error) {
	c := map[string]any{"state": filepath.Join(dir, "state"), "dicom": map[string]any{"listen": "127.0.0.1:0"}, "http": map[string]any{"listen": ""},
		"log": map[string]any{"format": "json"}, "destinations": []any{map[string]any{"name": "pacs", "address": pacs, "ae_title": "PACS"}}}
	raw, err := json.Marshal(c) // which is YAML
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "ichor.yaml")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "node.log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe, "serve", "--config", file)
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(syscall.SIGTERM) }, 30*time.Second
	cmd.Env = os.Environ()
	for _, s := range settings {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("setting %q: write KEY=VALUE, such as assembly.quiet_period=1s", s)
		}
		cmd.Env = append(cmd.Env, "ICHOR_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))+"="+value)
	}
	out, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	n := &Node{cmd: cmd, ended: make(chan error, 1)}
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(io.TeeReader(out, log))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var line struct{ Msg, Dicom string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" {
				ready <- line.Dicom
			}
		}
		n.ended <- errors.Join(cmd.Wait(), log.Close())
	}()
	select {
	case n.Address = <-ready:
		return n, nil
	case err := <-n.ended:
		return nil, fmt.Errorf("the node ended: %w; see %s", err, log.Name())
	}
}

// Stop ends the node in order.
func (n *Node) Stop() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return <-n.ended
}

// ticks is the unit of processor times in /proc: Linux has 100 to the second on every architecture that Go supports.
const ticks = 100

// Use returns the processor time and the resident memory of the node; 0 where /proc cannot be read.
func (n *Node) Use() (cpuSeconds float64, rssBytes int64) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	_, rest, _ := strings.Cut(string(raw), ") ") // the name before it may hold blanks
	f := strings.Fields(rest)
	if len(f) < 22 {
		return 0, 0
	}
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	pages, _ := strconv.ParseInt(f[21], 10, 64)
	return (user + system) / ticks, pages * int64(os.Getpagesize())
}
