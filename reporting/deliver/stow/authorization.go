package stow

import (
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxSecret bounds a file of credentials; tokens of some kilobytes exist.
const maxSecret = 64 << 10

// Bearer reads a token from a file for each request, so that a new one needs no restart (RFC 6750 §2.1).
func Bearer(path string) func() (string, error) {
	return func() (string, error) {
		token, err := secret(path)
		return "Bearer " + token, err
	}
}

// Basic reads user:password from a file for each request (RFC 7617 §2).
func Basic(path string) func() (string, error) {
	return func() (string, error) {
		pair, err := secret(path)
		if err == nil && !strings.Contains(pair, ":") {
			err = fmt.Errorf("%s: write user:password in it", path)
		}
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)), err
	}
}

// secret is the one line of a file. What is in it is no part of an error.
func secret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(text))
	if line == "" || strings.ContainsAny(line, "\r\n") {
		return "", fmt.Errorf("%s: write the credentials in it, in one line", path)
	}
	return line, nil
}
