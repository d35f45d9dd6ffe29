package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ichor/config"
)

// Names of the sockets that systemd passes, FileDescriptorName= of their units.
const (
	dicomSocket    = "dicom"     // ichor.socket
	dicomTLSSocket = "dicom-tls" // ichor-tls.socket
)

// firstPassed is the first descriptor that systemd passes (sd_listen_fds(3)).
const firstPassed = 3

// passedSockets takes the listening sockets that systemd opened for this process, by name: the way to port 104 without
// root. There are none where it was started otherwise. Children do not inherit them.
func passedSockets() (map[string]ports, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	sockets := map[string]ports{}
	if pid != strconv.Itoa(os.Getpid()) { // meant for another process
		return sockets, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 64 {
		return nil, fmt.Errorf("LISTEN_FDS=%q: systemd passes a small number there", count)
	}
	list := strings.Split(names, ":")
	for i := range n {
		name := ""
		if i < len(list) {
			name = list[i]
		}
		unix.CloseOnExec(firstPassed + i)
		file := os.NewFile(uintptr(firstPassed+i), name)
		ln, err := net.FileListener(file) // a duplicate
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, fmt.Errorf("socket %q passed by systemd: %w; it must be a listening TCP socket, ListenStream= in its unit", name, err)
		}
		sockets[name] = append(sockets[name], ln)
	}
	return sockets, nil
}

// entrance is one of the ports of the node: an address of its own, or what systemd passes under a name.
type entrance struct{ key, address, socket, unit string }

// entrances are the DICOM ports that the configuration asks for, the plain one first.
func entrances(c config.DICOM) []entrance {
	return slices.DeleteFunc([]entrance{
		{"dicom.listen", c.Listen, dicomSocket, "ichor.socket"},
		{"dicom.tls.listen", c.TLS.Listen, dicomTLSSocket, "ichor-tls.socket"},
	}, func(e entrance) bool { return e.address == "" })
}

// claimSockets takes what systemd passed, and refuses to start with other sockets than the configuration asks for.
func (n *node) claimSockets() (err error) {
	if n.passed, err = passedSockets(); err != nil {
		return err
	}
	used := map[string]bool{}
	for _, e := range entrances(n.config.DICOM) {
		if e.address != config.Systemd {
			continue
		}
		used[e.socket] = true
		if len(n.passed[e.socket]) == 0 {
			return fmt.Errorf("%s is %s, and systemd passed no socket named %s; run 'systemctl enable --now %s', or write host:port", e.key, e.address, e.socket, e.unit)
		}
	}
	for name := range n.passed {
		if !used[name] { // systemd would go on to take connections that nobody serves
			return fmt.Errorf("systemd passed a socket named %q that the configuration does not use; write dicom.listen: systemd for %s, dicom.tls.listen: systemd for %s, or disable its unit",
				name, dicomSocket, dicomTLSSocket)
		}
	}
	return nil
}

// listenDICOM opens the ports of the configuration, or takes those that systemd passed.
func (n *node) listenDICOM(ctx context.Context) error {
	for _, e := range entrances(n.config.DICOM) {
		lns := n.passed[e.socket]
		delete(n.passed, e.socket)
		if e.address != config.Systemd {
			ln, err := listen(ctx, e.key, e.address)
			if err != nil {
				return err
			}
			lns = ports{ln}
		}
		for _, ln := range lns {
			if e.socket == dicomTLSSocket {
				ln = tls.NewListener(ln, n.credentials.Server(n.config.DICOM.TLS.RequireClient))
			}
			n.dicom = append(n.dicom, ln)
		}
	}
	return nil
}

// ports are listeners of one service.
type ports []net.Listener

// Addr is the address of the first one.
func (p ports) Addr() net.Addr { return p[0].Addr() }

func (p ports) String() string {
	words := make([]string, len(p))
	for i, ln := range p {
		words[i] = ln.Addr().String()
	}
	return strings.Join(words, " ")
}
