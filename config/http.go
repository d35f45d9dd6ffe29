package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// HTTP is the local web interface.
type HTTP struct {
	Listen         string   `mapstructure:"listen" default:"127.0.0.1:8080" doc:"Address of the dashboard, /healthz, /readyz, /metrics and /api/v1/cases. Empty: off. Addresses other than loopback require a token, or a proxy that logs users in."`
	TLS            bool     `mapstructure:"tls" default:"false" doc:"Serve HTTPS, with certificate and key of dicom.tls. Changed files are read again without a restart."`
	Token          string   `mapstructure:"token" default:"" doc:"Bearer token for everything except the health checks, at least 16 characters. For the dashboard, a browser asks for it as the password; the user name does not matter."`
	TokenFile      string   `mapstructure:"token_file" default:"" doc:"File with the token, in place of token. 'openssl rand -hex 16' makes one."`
	UserHeader     string   `mapstructure:"user_header" default:"" doc:"Header in which a reverse proxy names the user that it has logged in, such as X-Remote-User. It is believed only from http.proxies, and allows reading; orders still require the token."`
	Proxies        []string `mapstructure:"proxies" default:"[]" doc:"IP addresses or ranges of reverse proxies whose user_header is believed, such as [127.0.0.1]. The proxy must remove the header from what a browser sends."`
	MaxConnections int      `mapstructure:"max_connections" default:"128" doc:"Maximum number of simultaneous connections; of one address at most half of them."`
}

// minToken is the least length of a token: 16 hexadecimal digits cannot be guessed over a network.
const minToken = 16

func (h *HTTP) validate(t TLS) error {
	if h.Listen == "" {
		return nil
	}
	var errs []error
	if !hostPort(h.Listen) {
		errs = append(errs, fmt.Errorf("http.listen %q: write host:port, or leave it empty to switch it off", h.Listen))
	} else if h.Token == "" && h.TokenFile == "" && h.UserHeader == "" && !Loopback(h.Listen) {
		errs = append(errs, fmt.Errorf("http.listen %s can be reached from other machines: set http.token or http.token_file", h.Listen))
	}
	switch {
	case h.Token != "" && h.TokenFile != "":
		errs = append(errs, errors.New("http.token: give either token or token_file"))
	case h.Token != "" && len(h.Token) < minToken:
		errs = append(errs, fmt.Errorf("http.token has %d characters: write at least %d; 'openssl rand -hex 16' makes one", len(h.Token), minToken))
	}
	if h.TLS && (t.Certificate == "" || t.Key == "") {
		errs = append(errs, errors.New("http.tls: set certificate and key in dicom.tls"))
	}
	if (h.UserHeader == "") != (len(h.Proxies) == 0) {
		errs = append(errs, errors.New("http.user_header: set both user_header and proxies, or neither"))
	}
	if _, err := h.ProxyPrefixes(); err != nil {
		errs = append(errs, fmt.Errorf("http.proxies: %w", err))
	}
	if h.MaxConnections < 4 {
		errs = append(errs, fmt.Errorf("http.max_connections %d: must be at least 4", h.MaxConnections))
	}
	return errors.Join(errs...)
}

// ProxyPrefixes parses the addresses of reverse proxies.
func (h *HTTP) ProxyPrefixes() ([]netip.Prefix, error) { return prefixes(h.Proxies) }

// TokenError is a file of a token that cannot be used, and what to do.
type TokenError struct{ err error }

func (e *TokenError) Error() string { return e.err.Error() }

func (e *TokenError) Unwrap() error { return e.err }

// ReadToken returns the token, from its file if it has one; empty: none is required.
func (h *HTTP) ReadToken() (string, error) {
	if h.TokenFile == "" {
		return h.Token, nil
	}
	text, err := os.ReadFile(h.TokenFile)
	if err != nil {
		return "", &TokenError{fmt.Errorf("http.token_file: %w; make it readable for this user", err)}
	}
	token := strings.TrimSpace(string(text))
	if len(token) < minToken {
		return "", &TokenError{fmt.Errorf("http.token_file %s has %d characters: write at least %d; 'openssl rand -hex 16' makes a token", h.TokenFile, len(token), minToken)}
	}
	return token, nil
}
