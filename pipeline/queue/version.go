package queue

import (
	"fmt"

	"github.com/nats-io/nats.go"
)

// Oldest is the oldest NATS server that is accepted. Earlier ones compact the files of a stream without syncing them, even with
// sync_interval: always, and lose acknowledged messages at a power failure.
const Oldest = "2.14.6"

// checkVersion returns an error for a server that is older than Oldest, or whose version cannot be read. A pre-release counts as
// its release.
func checkVersion(version string) error {
	have, ok := parseVersion(version)
	if oldest, _ := parseVersion(Oldest); !ok || less(have, oldest) {
		return fmt.Errorf("it is nats-server %q; ichor needs %s or newer, because earlier ones can lose acknowledged jobs at a power failure: upgrade it", version, Oldest)
	}
	return nil
}

func parseVersion(s string) (v [3]int, ok bool) {
	n, _ := fmt.Sscanf(s, "%d.%d.%d", &v[0], &v[1], &v[2])
	return v, n == len(v)
}

func less(a, b [3]int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

// access returns how to log in to an external server. The files are read at each connection.
func (o *Options) access() (list []nats.Option) {
	if o.CA != "" {
		list = append(list, nats.RootCAs(o.CA))
	}
	if o.Certificate != "" {
		list = append(list, nats.ClientCert(o.Certificate, o.Key))
	}
	if o.Credentials != "" {
		list = append(list, nats.UserCredentials(o.Credentials))
	}
	return list
}
