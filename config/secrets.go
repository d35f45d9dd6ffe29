package config

import (
	"net/url"
	"slices"
	"strings"
)

// hidden replaces a secret that is set.
const hidden = "(hidden)"

// WithoutSecrets returns a copy for support: tokens, passcodes and passwords in addresses are hidden.
func (c Config) WithoutSecrets() Config {
	hide := func(s *string) {
		if *s != "" {
			*s = hidden
		}
	}
	hide(&c.HTTP.Token)
	c.DICOM.Peers = slices.Clone(c.DICOM.Peers)
	for i := range c.DICOM.Peers {
		hide(&c.DICOM.Peers[i].Passcode)
	}
	c.Destinations = slices.Clone(c.Destinations)
	for i := range c.Destinations {
		hide(&c.Destinations[i].Passcode)
	}
	servers := strings.Split(c.Queue.URL, ",")
	for i, s := range servers {
		if u, err := url.Parse(s); err != nil || u.User != nil {
			servers[i] = hidden
		}
	}
	c.Queue.URL = strings.Join(servers, ",")
	return c
}
