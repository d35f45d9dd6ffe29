package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"

	"ichor/config"
)

// Names of the sockets passed by systemd: FileDescriptorName= in their units.
const (
	dicomSocket    = "dicom"     // ichor.socket
	dicomTLSSocket = "dicom-tls" // ichor-tls.socket
)

// passedSockets returns the listening sockets that systemd opened for this process, by name. This allows port 104 without
// root. Without systemd there are none. Child processes do not inherit them.
func passedSockets() (map[string][]net.Listener, error) {
	sockets := map[string][]net.Listener{}
	for _, file := range activation.Files(true) {
		ln, err := net.FileListener(file) // a duplicate
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, fmt.Errorf("socket %q passed by systemd: %w; it must be a listening TCP socket (ListenStream= in its unit)", file.Name(), err)
		}
		sockets[file.Name()] = append(sockets[file.Name()], ln)
	}
	return sockets, nil
}

// Entrance is a DICOM port of the node: an address to listen on, or the name of a socket passed by systemd.
type Entrance struct{ Key, Address, Socket, Unit string }

// Entrances returns the configured DICOM ports, the one without TLS first.
func Entrances(c config.DICOM) []Entrance {
	return slices.DeleteFunc([]Entrance{
		{"dicom.listen", c.Listen, dicomSocket, "ichor.socket"},
		{"dicom.tls.listen", c.TLS.Listen, dicomTLSSocket, "ichor-tls.socket"},
	}, func(e Entrance) bool { return e.Address == "" })
}

// ErrConfig: the configuration contradicts what systemd passed to this process; a restart does not help.
var ErrConfig = errors.New("the configuration does not fit the systemd units")

// claimSockets takes the sockets passed by systemd. It returns an error if they are not those in the configuration.
func (n *Node) claimSockets() (err error) {
	if n.passed, err = passedSockets(); err != nil {
		return err
	}
	used := map[string]bool{}
	for _, e := range Entrances(n.config.DICOM) {
		if e.Address != config.Systemd {
			continue
		}
		used[e.Socket] = true
		if len(n.passed[e.Socket]) == 0 {
			return fmt.Errorf("%s is %s, but systemd passed no socket named %s; run 'systemctl enable --now %s', or write host:port: %w", e.Key, e.Address, e.Socket, e.Unit, ErrConfig)
		}
	}
	for name := range n.passed {
		if !used[name] { // otherwise systemd would accept connections that nobody serves
			return fmt.Errorf("systemd passed a socket named %q that the configuration does not use; write dicom.listen: systemd for %s, dicom.tls.listen: systemd for %s, or disable its unit: %w",
				name, dicomSocket, dicomTLSSocket, ErrConfig)
		}
	}
	return nil
}

// listenDICOM opens the configured ports, or takes those passed by systemd.
func (n *Node) listenDICOM(ctx context.Context) error {
	for _, e := range Entrances(n.config.DICOM) {
		lns := n.passed[e.Socket]
		delete(n.passed, e.Socket)
		if e.Address != config.Systemd {
			ln, err := listen(ctx, e.Key, e.Address)
			if err != nil {
				return err
			}
			lns = []net.Listener{ln}
		}
		for _, ln := range lns {
			p := port{Listener: ln}
			if e.Socket == dicomTLSSocket {
				p.tls = n.credentials.Server(n.config.DICOM.TLS.RequireClient)
			}
			n.dicom = append(n.dicom, p)
		}
	}
	return nil
}

// port is an open DICOM port.
type port struct {
	net.Listener
	tls *tls.Config // nil: without TLS
}

type ports []port

// secured returns the listeners to serve, with TLS where it belongs.
func (p ports) secured() []net.Listener {
	out := make([]net.Listener, len(p))
	for i, x := range p {
		if out[i] = x.Listener; x.tls != nil {
			out[i] = tls.NewListener(x.Listener, x.tls)
		}
	}
	return out
}

func (p ports) String() string {
	words := make([]string, len(p))
	for i, ln := range p {
		words[i] = ln.Addr().String()
	}
	return strings.Join(words, " ")
}

// listen listens on a TCP address. Its error says what to do.
func listen(ctx context.Context, key, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if errors.Is(err, fs.ErrPermission) && key != "http.listen" {
		return nil, fmt.Errorf("%s %s: %w; for a port below 1024 enable the systemd socket unit and set %s to systemd", key, address, err, key)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w; stop the program that uses the port, or set %s to another address", key, address, err, key)
	}
	return l, nil
}
