package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"ichor/reporting/web"
)

// nodeFlags are the settings needed to reach the running node.
var nodeFlags = map[string]string{"http": "http.listen", "token": "http.token"}

// client talks to the running node over HTTP.
type client struct{ base, token string }

// running returns a client for the node named in the settings.
func running(s *settings) (client, error) {
	c, err := s.load()
	if err != nil {
		return client{}, err
	}
	if c.HTTP.Listen == "" {
		return client{}, errors.New("http.listen is empty, so the node cannot be reached; set it and restart the node")
	}
	return client{"http://" + c.HTTP.Listen + "/api/v1/", c.HTTP.Token}, nil
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
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	client := http.Client{Timeout: 30 * time.Second}
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("no node answers: %w; is 'ichor serve' running with this http.listen?", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return fmt.Errorf("the node answers %s: %s", answer.Status, strings.TrimSpace(string(text)))
	}
	return json.NewDecoder(answer.Body).Decode(v)
}

// give loads the settings and sends the running node an order about dead letters or cases.
func give(s *settings, path string, order web.Selection) (done web.Done, err error) {
	c, err := running(s)
	if err != nil {
		return done, err
	}
	return done, c.post(path, order, &done)
}
