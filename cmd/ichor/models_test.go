package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ichor/models/bundle"
	"ichor/pipeline/finding"
)

// tinyNet writes a network as a user would bring it: blood is what is brighter than 58 HU in the window of -50 to 150,
// in one channel, as TorchScript.
const tinyNet = `import sys, torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Conv2d(4, 1, 1)
        with torch.no_grad():
            self.a.weight.zero_(); self.a.bias.zero_(); self.a.weight[:, 0, 1, 1] = 1
            self.b.weight.fill_(10.0); self.b.bias.fill_(-40 * 0.54)
    def forward(self, x):
        return torch.sigmoid(self.b(torch.relu(self.a(x))))
torch.jit.script(Net()).save(sys.argv[1])`

// TestModelsBrought turns a network of one channel into a bundle by the command of the training package, and analyses a
// study with it: hemorrhage of unknown subtype.
func TestModelsBrought(t *testing.T) {
	t.Parallel()
	py, lib := python(t), library(t)
	dir := t.TempDir()
	net, out := filepath.Join(dir, "net.pt"), filepath.Join(dir, "tiny")
	run := func(args ...string) {
		cmd := exec.CommandContext(t.Context(), py, args...)
		cmd.Dir = absolute(t, "../../models/training")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("python %s: %v\n%s", strings.Join(args, " "), err, text)
		}
	}
	source := filepath.Join(dir, "net.py") // TorchScript reads the source of what it compiles
	if err := os.WriteFile(source, []byte(tinyNet), 0o644); err != nil {
		t.Fatal(err)
	}
	run(source, net)
	run("-m", "ich", "bundle", "--net", net, "--name", "tiny", "--data", "none: a threshold", "--size", "160", "--pixel-mm", "1.5", "--slab-mm", "5",
		"--min-ml", "1", "--out", out)
	if text := ok(t, "models", "verify", out, "--library", lib); !strings.Contains(text, "tiny 1.0.0: 3 networks") {
		t.Errorf("verify: %s", text)
	}
	if text := ok(t, "models", "list", out, "--card"); !strings.Contains(text, "# Model card: tiny 1.0.0") || !strings.Contains(text, finding.Disclaimer) {
		t.Errorf("card:\n%s", text)
	}
	study := filepath.Join(dir, "study")
	ok(t, "sample", "--out", study, "--study", "mixed")
	var f finding.Finding
	text := ok(t, "analyze", study, "--out", filepath.Join(dir, "results"), "--json", "--bundle", out, "--library", lib)
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatal(err)
	}
	if f.Volumes.ICH < 10 || f.Volumes.ICH != f.Volumes.Total || strings.Contains(text, `"IPH"`) || len(f.Warnings) == 0 {
		t.Errorf("%+v %q\n%s", f.Volumes, f.Warnings, text)
	}
	for _, name := range []string{"seg.dcm", "sc/1.dcm", "sr.dcm"} {
		validate(t, filepath.Join(dir, "results", name))
	}
	code, _, stderr := command(t, "models", "verify", out, "--library", lib, "--precision", "int8")
	if code != 1 || !strings.Contains(stderr, "networks[2].int8") && !strings.Contains(stderr, "networks[0].int8") || strings.Count(strings.TrimSpace(stderr), "\n") != 0 {
		t.Errorf("int8 of a bundle that has none: code %d\n%s", code, stderr)
	}
}

func TestModelsCard(t *testing.T) {
	dir := copyBundle(t)
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	card := filepath.Join(dir, bundle.CardFile)
	if err := os.RemoveAll(card); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := command(t, "models", "list", "--card", "--bundle", dir); code != 1 || !strings.Contains(stderr, "ich card") {
		t.Errorf("no card: code %d, %s", code, stderr)
	}
	for text, warned := range map[string]bool{"# Card of " + b.Digest + "\n": false, "# Card of another\n": true} {
		if err := os.WriteFile(card, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := command(t, "models", "list", "--card", dir)
		if code != 0 || stdout != text || (stderr != "") != warned {
			t.Errorf("code %d, printed %q, said %q", code, stdout, stderr)
		}
	}
	if code, _, _ := command(t, "models", "list", "--card", "--json", dir); code != 2 {
		t.Errorf("card and JSON at once: code %d", code)
	}
}
