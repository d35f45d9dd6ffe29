package config

import "testing"

func TestDoc(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"analysis.library": "Path of libonnxruntime.so",
		"log.level":        "debug, info, warn or error",
		"http":             "Dashboard, health checks, metrics, and cases as JSON",
		"http.nothing":     "",
		"log.level.more":   "",
	} {
		if got := Doc(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}
