package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"ichor/config"
	"ichor/reporting/web"
)

// nodeFlags are the settings needed to reach the running node.
var nodeFlags = map[string]string{"http": "http.listen", "token": "http.token"}

// client talks to the running node over HTTP.
type client struct {
	base, token string
	tls         *tls.Config // nil: plain HTTP
}

// running returns a client for the node named in the settings.
func running(s *settings) (client, error) {
	c, err := s.load()
	if err != nil {
		return client{}, err
	}
	if c.HTTP.Listen == "" {
		return client{}, errors.New("http.listen is empty, so the node cannot be reached; set it and restart the node")
	}
	return newClient(c)
}

// newClient returns a client for the node with this configuration.
func newClient(c config.Config) (client, error) {
	token, err := c.HTTP.ReadToken()
	if err != nil {
		return client{}, err
	}
	n := client{base: "http://" + c.HTTP.Listen + "/api/v1/", token: token}
	if c.HTTP.TLS {
		n.base = "https://" + c.HTTP.Listen + "/api/v1/"
		n.tls, err = onlyCertificate(c.DICOM.TLS.Certificate)
	}
	return n, err
}

// onlyCertificate returns a configuration that trusts a server with exactly the certificate in a file. The name does not matter:
// the node is reached by its listening address.
func onlyCertificate(path string) (*tls.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s contains no certificate", path)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, // VerifyConnection compares the whole certificate
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !bytes.Equal(s.PeerCertificates[0].Raw, block.Bytes) {
				return fmt.Errorf("the server does not have the certificate in %s", path)
			}
			return nil
		},
	}, nil
}

// get decodes the node's answer for path into v.
func (c client) get(path string, v any) error {
	r, err := http.NewRequest(http.MethodGet, c.base+path, nil)
	if err != nil {
		return err
	}
	return c.exchange(r, v)
}

// post sends order to the node and decodes the answer into v.
func (c client) post(path string, order, v any) error {
	body, err := json.Marshal(order)
	if err != nil {
		return err
	}
	r, err := http.NewRequest(http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	return c.exchange(r, v)
}

func (c client) exchange(r *http.Request, v any) error {
	answer, err := c.answer(r, answerTime(r.URL.Path))
	if err != nil {
		return err
	}
	defer answer.Close()
	return json.NewDecoder(answer).Decode(v)
}

// stream sends an order to the node and writes its answer, which may take as long as it moves, to w.
func (c client) stream(path string, w io.Writer) error {
	r, err := http.NewRequest(http.MethodPost, c.base+path, strings.NewReader("{}"))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.answer(r, 0)
	if err != nil {
		return err
	}
	defer answer.Close()
	if _, err := io.Copy(w, answer); err != nil {
		return fmt.Errorf("the answer of the node ends early: %w; its log says why", err)
	}
	return nil
}

// text returns the node's answer for a path outside of the API, such as /metrics.
func (c client) text(path string) ([]byte, error) {
	r, err := http.NewRequest(http.MethodGet, strings.TrimSuffix(c.base, "/api/v1/")+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.answer(r, answerTime(path))
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	return io.ReadAll(answer)
}

// answer sends a request with the token and returns the body of a successful answer. timeout 0: none.
func (c client) answer(r *http.Request, timeout time.Duration) (io.ReadCloser, error) {
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if user := cmp.Or(os.Getenv("SUDO_USER"), os.Getenv("USER")); user != "" {
		r.Header.Set("X-Ichor-User", user) // for the event log
	}
	client := http.Client{Timeout: timeout, Transport: &http.Transport{TLSClientConfig: c.tls, DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("no node answers: %w; is 'ichor serve' running with this http.listen?", err)
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return nil, &answerError{answer.StatusCode, strings.TrimSpace(string(text))}
	}
	return answer.Body, nil
}

// answerError is an answer other than success.
type answerError struct {
	code int
	text string
}

func (e *answerError) Error() string {
	return fmt.Sprintf("the node answers %d %s: %s", e.code, http.StatusText(e.code), e.text)
}

// answerTime is how long an answer may take. A self-test takes as long as an analysis.
func answerTime(path string) time.Duration {
	if strings.HasSuffix(path, "/canary") {
		return 15 * time.Minute
	}
	return 30 * time.Second
}

// give loads the settings and sends the running node an order about dead letters or cases.
func give(s *settings, path string, order web.Selection) (done web.Done, err error) {
	c, err := running(s)
	if err != nil {
		return done, err
	}
	return done, c.post(path, order, &done)
}
