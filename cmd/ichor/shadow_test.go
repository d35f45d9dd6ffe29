package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ichor/cmd/ichor/node"
	"ichor/pipeline/state"
)

// renamed is the shipped bundle under another name.
func renamed(t *testing.T, name string) string {
	t.Helper()
	dir := copyBundle(t)
	path := filepath.Join(dir, "manifest.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`"name": "ichor-synthetic"`).ReplaceAll(text, []byte(`"name": "`+name+`"`))
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestShadow: a second bundle analyses a live study and sends nothing; the comparison says that the two agree.
func TestShadow(t *testing.T) {
	t.Parallel()
	pacs := startPACS(t)
	c := toPACS(t, pacs)
	c.Analysis.Shadow = renamed(t, "candidate")
	n := startNode(t, c)
	dir, _ := sampleStudy(t, "mixed")
	id := state.IDOf(send(t, n.Addr(), dir)[0].StudyInstanceUID)
	if _, err := delivered(within(t), n.State(), id, func() {}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a comparison", func() bool { all, err := node.ReadCompared(c); return err == nil && len(all) == 1 })
	all, err := node.ReadCompared(c)
	if err != nil || all[0].Dice == nil || *all[0].Dice != 1 || !strings.HasPrefix(all[0].Shadow, "candidate ") || !strings.HasPrefix(all[0].Bundle, "ichor-synthetic ") || all[0].Error != "" {
		t.Errorf("%+v, %v", all, err)
	}
	if out := ok(t, "models", "shadow", "--state", c.State); !strings.Contains(out, "1 studies, 1 with the same status, 0 failed") || !strings.Contains(out, "median Dice 1.000") || !strings.Contains(out, string(id)) {
		t.Error(out)
	}
	for _, o := range pacs.Objects() {
		text, err := os.ReadFile(o.Path)
		if err != nil || strings.Contains(string(text), "candidate") {
			t.Errorf("an object of the shadow was sent, %v", err)
		}
	}
}

// TestModelsUse switches to another bundle and back; the history says what was used, and the configuration comes first.
func TestModelsUse(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), renamed(t, "other")
	if out := ok(t, "models", "use", other, "--state", dir); !strings.Contains(out, "other ") || !strings.Contains(out, "systemctl restart ichor") {
		t.Error(out)
	}
	c := testConfig(t)
	c.State, c.Analysis.Bundle = dir, ""
	if got, err := node.WithChoice(c); err != nil || got.Analysis.Bundle != other {
		t.Errorf("%q, %v", got.Analysis.Bundle, err)
	}
	n := startNode(t, c)
	if name := n.Engine().Bundle.Name; name != "other" {
		t.Errorf("the node uses %s", name)
	}
	third := renamed(t, "third")
	ok(t, "models", "use", third, "--state", dir)
	ok(t, "models", "use", "--back", "--state", dir)
	var all []node.Choice
	if err := json.Unmarshal([]byte(ok(t, "models", "use", "--history", "--json", "--state", dir)), &all); err != nil || len(all) != 3 || all[2].Bundle != other || all[1].Bundle != third {
		t.Errorf("%+v, %v", all, err)
	}
	if code, _, errs := command(t, "models", "use", filepath.Join(dir, "none"), "--state", dir); code != 1 || !strings.Contains(errs, "manifest.json") {
		t.Errorf("a bundle that is not there: %d %s", code, errs)
	}
	if code, _, errs := command(t, "models", "use", "--back", "--state", t.TempDir()); code != 1 || !strings.Contains(errs, "no other bundle was used before") {
		t.Errorf("nothing to go back to: %d %s", code, errs)
	}
	c.Analysis.Bundle = third
	if got, err := node.WithChoice(c); err != nil || got.Analysis.Bundle != third {
		t.Errorf("the configuration does not come first: %q, %v", got.Analysis.Bundle, err)
	}
	if _, err := node.Choose(c, other, ""); err == nil || !strings.Contains(err.Error(), "analysis.bundle") {
		t.Errorf("chosen beside the configuration: %v", err)
	}
}
