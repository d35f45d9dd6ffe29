package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
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
func passedSockets() (map[string][]net.Listener, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	sockets := map[string][]net.Listener{}
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

// listenDICOM opens the ports of the configuration, or takes them from systemd. The plain ones come first.
func (n *node) listenDICOM(ctx context.Context) error {
	passed, err := passedSockets()
	if err != nil {
		return err
	}
	take := func(key, address, socket, unit string) (ports, error) {
		switch address {
		case "":
			return nil, nil
		case config.Systemd:
			lns := passed[socket]
			delete(passed, socket)
			if len(lns) == 0 {
				return nil, fmt.Errorf("%s is %s, and systemd passed no socket named %s; run 'systemctl enable --now %s', or write host:port", key, address, socket, unit)
			}
			return lns, nil
		}
		ln, err := listen(ctx, key, address)
		if err != nil {
			return nil, err
		}
		return ports{ln}, nil
	}
	c := n.config.DICOM
	if n.dicom, err = take("dicom.listen", c.Listen, dicomSocket, "ichor.socket"); err != nil {
		return err
	}
	secure, err := take("dicom.tls.listen", c.TLS.Listen, dicomTLSSocket, "ichor-tls.socket")
	if err != nil {
		return err
	}
	for _, ln := range secure {
		n.dicom = append(n.dicom, tls.NewListener(ln, n.credentials.Server(c.TLS.RequireClient)))
	}
	for name, lns := range passed { // systemd would go on to accept connections that nobody serves
		for _, ln := range lns {
			n.dicom = append(n.dicom, ln) // to be closed
		}
		return fmt.Errorf("systemd passed a socket named %q that the configuration does not use; write dicom.listen: systemd for %s, dicom.tls.listen: systemd for %s, or disable its unit",
			name, dicomSocket, dicomTLSSocket)
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
