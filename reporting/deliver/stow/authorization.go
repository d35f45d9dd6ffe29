package stow

import (
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxSecret bounds a credentials file; tokens can have several kilobytes.
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
			err = fmt.Errorf("%s: must contain user:password", path)
		}
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)), err
	}
}

// secret reads the single line of a file. Errors never contain it.
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
		return "", fmt.Errorf("%s: must contain the credentials in one line", path)
	}
	return line, nil
}
