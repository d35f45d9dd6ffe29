package main

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/scp/scptest"
)

// TestMetrics: what happened to a node shows in its metrics, and nothing of a patient does.
func TestMetrics(t *testing.T) {
	t.Parallel()
	authority := scptest.NewAuthority(t)
	c := overTLS(t, authority)
	c.Destinations = []config.Destination{{Name: "nobody", Address: freeAddress(t), AETitle: "NOBODY"}}
	n := startNode(t, c)
	router, other := authority.Valid("router"), authority.Valid("other")
	args := func(c scptest.Certificate) []string {
		return []string{n.Addr(), "--calling", "ROUTER", "--tls", "--tls-ca", authority.CA, "--tls-certificate", c.File, "--tls-key", c.Key}
	}
	dir, _ := sampleStudy(t, "normal")
	for range 2 {
		ok(t, append([]string{"send", args(router)[0], filepath.Join(dir, "CT0001.dcm")}, args(router)[1:]...)...)
	}
	command(t, append([]string{"echo"}, args(other)...)...)
	lines := func() string {
		answer, err := http.Get("http://" + n.HTTPAddr() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	want := []string{
		`ichor_ready 1`, `ichor_spool_writable 1`, `ichor_spool_damaged 0`,
		`ichor_associations_total{result="accepted"} 2`, `ichor_associations_total{result="rejected"} 1`, `ichor_associations_total{result="released"} 2`,
		`ichor_associations_rejected_total{reason="calling-ae"} 1`, `ichor_open_associations 0`,
		`ichor_refused_studies_total{code="too-few-slices"} 1`, `ichor_analysis_seconds_count{stage="read"} 1`, `ichor_result_seconds_count 1`,
		`ichor_objects_received_total{result="stored"} 1`, `ichor_objects_received_total{result="known"} 1`, `ichor_store_seconds_count 2`,
		`ichor_deliveries{destination="nobody",state="dead"} 0`,
	}
	credentials, err := node.OpenCredentials(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range credentials.Expiries() {
		want = append(want, fmt.Sprintf("ichor_certificate_expiry_timestamp_seconds{file=%q} %v", e.File, float64(e.NotAfter.Unix())))
	}
	if len(want) < 12 {
		t.Fatal("no certificates in use")
	}
	var text string
	missing := ""
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) { // a release is counted when the connection is closed
		text, missing = lines(), ""
		for _, w := range want {
			if !strings.Contains(text, "\n"+w+"\n") {
				missing = w
			}
		}
		if missing == "" || time.Now().After(deadline) {
			break
		}
	}
	if missing != "" {
		t.Errorf("%s is not in\n%s", missing, text)
	}
	files, _, err := findDICOM(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc([]string{files[0].StudyInstanceUID, "ROUTER"}, func(s string) bool { return strings.Contains(text, s) }) {
		t.Errorf("names a study or a peer:\n%s", text)
	}
	b := n.Engine().Bundle
	for _, line := range []string{
		fmt.Sprintf(`ichor_bundle_info{digest=%q,name=%q,version=%q} 1`, b.Digest, b.Name, b.Version),
		`ichor_build_info{commit="",goversion="` + runtime.Version() + `",version="` + version + `"} 1`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%s is not in\n%s", line, text)
		}
	}
}
