package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// network is a bridge with one network namespace for each process of a fleet, whose link can be cut. The methods of a nil network
// use loopback addresses.
type network struct {
	t      testing.TB
	prefix string // of all names
	subnet string // 10.77.x.

	mu    sync.Mutex
	hosts map[string]string // address by name
}

// newNetwork makes the bridge; nil where this process may not.
func newNetwork(t testing.TB) *network {
	t.Helper()
	n := &network{t: t, prefix: fmt.Sprintf("ic%d", os.Getpid()%10000), subnet: fmt.Sprintf("10.77.%d.", os.Getpid()%250), hosts: map[string]string{}}
	for _, line := range []string{"link add " + n.prefix + " type bridge", "addr add " + n.subnet + "1/24 dev " + n.prefix, "link set " + n.prefix + " up"} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Logf("no network namespaces, so no partitions: ip %s: %v %s", line, err, out)
			return nil
		}
	}
	n.hosts["pacs"] = n.subnet + "1"
	t.Cleanup(func() {
		for name := range n.hosts {
			_ = exec.Command("ip", "netns", "del", n.prefix+name).Run() // the PACS has none
		}
		n.ip("link", "del", n.prefix)
	})
	return n
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Errorf("ip %s: %v %s", strings.Join(args, " "), err, out)
	}
}

// host returns the address of a process, in a new namespace if there is a network.
func (n *network) host(t *testing.T, name string) string {
	t.Helper()
	if n == nil {
		host, _, err := net.SplitHostPort(freeAddress(t))
		if err != nil {
			t.Fatal(err)
		}
		return host
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[name] == "" {
		address := fmt.Sprint(n.subnet, 10+len(n.hosts))
		n.hosts[name] = address
		space, outer := n.prefix+name, n.link(name)
		n.ip("netns", "add", space)
		n.ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
		n.ip("link", "set", outer, "master", n.prefix, "up")
		n.ip("-n", space, "addr", "add", address+"/24", "dev", "eth0")
		n.ip("-n", space, "link", "set", "eth0", "up")
		n.ip("-n", space, "link", "set", "lo", "up")
	}
	return n.hosts[name]
}

// link is the outer end of a cable; names of interfaces have at most 15 characters.
func (n *network) link(name string) string { return n.prefix + "-" + name[:2] + name[len(name)-1:] }

// command runs a program in the namespace of a process.
func (n *network) command(ctx context.Context, name, program string, args ...string) *exec.Cmd {
	if n == nil {
		return exec.CommandContext(ctx, program, args...)
	}
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.prefix + name, program}, args...)...)
}

// cut pulls the cable of a process, and plugs it in again.
func (n *network) cut(name string, cut bool) {
	to := "up"
	if cut {
		to = "down"
	}
	n.ip("link", "set", n.link(name), to)
}
