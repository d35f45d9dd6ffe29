package node

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ichor/reporting/metrics"
)

var monitoring = filepath.Join("..", "..", "..", "systemd", "monitoring")

// TestMonitoringNamesMetrics: alert rules and dashboard use metrics and labels that a node declares, and every rule points to a
// heading of the operating document.
func TestMonitoringNamesMetrics(t *testing.T) {
	n := &Node{observer: newObserver()}
	n.measure("", "")
	n.measureState()
	declared := map[string]metrics.Family{}
	for _, f := range n.observer.Families {
		declared[f.Name] = f
		if f.Type == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				declared[f.Name+suffix] = f
			}
		}
	}
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(monitoring, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	rules, dashboard := read("alerts.yaml"), read("dashboard.json")
	if !json.Valid([]byte(dashboard)) {
		t.Error("the dashboard is not JSON")
	}
	metric, label := regexp.MustCompile(`\b(ichor_[a-z0-9_]+)(\{[^}]*\})?`), regexp.MustCompile(`([a-z_]+)\s*(?:=~|!=|=)`)
	used := 0
	for name, text := range map[string]string{"alerts.yaml": rules, "dashboard.json": strings.ReplaceAll(dashboard, `\"`, `"`)} {
		for _, m := range metric.FindAllStringSubmatch(text, -1) {
			f, ok := declared[m[1]]
			if !ok {
				t.Errorf("%s uses %s, which no node has", name, m[1])
			}
			used++
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains([]string{"instance", "job"}, l[1]) && !slices.Contains(f.Labels, l[1]) {
					t.Errorf("%s uses %s%s, which has no label %s", name, m[1], m[2], l[1])
				}
			}
		}
	}
	if used < 40 {
		t.Errorf("only %d metrics were found", used)
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "operate.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`runbook_url: docs/operate\.md#(.*)`).FindAllStringSubmatch(rules, -1) {
		heading := strings.ReplaceAll(m[1], "-", "[- ]")
		if m[1] == "{{ $labels.name }}" { // an alarm, all of which have a heading
			continue
		}
		if !regexp.MustCompile(`(?mi)^##+ ` + heading + `$`).Match(page) {
			t.Errorf("no heading %s in docs/operate.md", m[1])
		}
	}
	for _, rule := range strings.Split(rules, "- alert: ")[1:] {
		for _, want := range []string{"expr:", "severity:", "summary:", "description:", "runbook_url:"} {
			if !strings.Contains(rule, want) {
				t.Errorf("rule %.30s has no %s", rule, want)
			}
		}
	}
}

// TestAlertRules lets promtool check and test the rules.
func TestAlertRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is missing: install the Debian package prometheus")
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = monitoring
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
