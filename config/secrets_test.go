package config

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestWithoutSecrets(t *testing.T) {
	t.Parallel()
	c := Default()
	c.HTTP.Token, c.Queue.URL = "geheim-1", "nats://user:geheim-2@h:4222,nats://h2:4222"
	c.DICOM.Peers = []Peer{{AETitle: "CT1", Passcode: "geheim-3"}}
	c.Destinations = []Destination{{Name: "pacs", Passcode: "geheim-4"}}
	text, err := json.Marshal(c.WithoutSecrets())
	if err != nil || strings.Contains(string(text), "geheim") || !strings.Contains(string(text), "nats://h2:4222") || !strings.Contains(string(text), "CT1") {
		t.Errorf("%v: %s", err, text)
	}
	if c.Destinations[0].Passcode != "geheim-4" {
		t.Error("the configuration itself was changed")
	}
}
