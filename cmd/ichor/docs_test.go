package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ichor/config"
)

// byTrial are run in a Debian with a real systemd by systemd/package/trial.sh, which needs root.
const byTrial = "changes the system: systemd/package/trial.sh"

// elsewhere are the commands of the documents that TestDocuments does not run, each with the reason.
var elsewhere = map[string]string{
	"sudo apt install ./ichor_*.deb":                                               byTrial,
	"sudo apt install --allow-downgrades ./ichor_*.deb":                            byTrial,
	"sudo apt remove ichor":                                                        byTrial,
	"sudo apt purge ichor":                                                         byTrial,
	"systemctl status ichor":                                                       byTrial,
	"sudo systemctl restart ichor":                                                 byTrial,
	"sudo systemctl reload ichor":                                                  byTrial,
	"sudo systemctl stop ichor":                                                    byTrial,
	"sudo systemctl start ichor":                                                   byTrial,
	"sudo systemctl enable --now ichor.socket":                                     byTrial,
	"sudo cat /etc/ichor/http.token":                                               byTrial,
	"sudo rm -r /var/lib/ichor":                                                    byTrial,
	"sudo systemd-tmpfiles --create ichor.conf":                                    byTrial,
	"openssl rand -hex 24 | sudo tee /etc/ichor/http.token >/dev/null":             byTrial,
	"sudo dnf install ./ichor-*.rpm":                                               "needs a Fedora: rpm -qp and --test in systemd/package/trial.sh",
	"sha256sum --check --ignore-missing SHA256SUMS":                                "needs the packages: systemd/package/trial.sh",
	"make package":                                                                 "takes minutes: systemd/package/trial.sh needs its packages",
	"systemd-analyze security ichor.service":                                       "TestInstall, offline",
	"ichor demo --config /dev/null --keep":                                         "TestDemoKeep",
	"sudo install -o root -g ichor -m 0640 node.key node.pem ca.pem /etc/ichor/":   "needs the user ichor and certificates",
	"ichor echo 10.1.2.3:2762 --called PACS --calling ICHOR --tls --tls-ca ca.pem": "TestSecure runs it with certificates",
	"echoscu -aet ROUTER -aec ICHOR 10.1.2.9 11112":                                "the interoperability tests run dcmtk against the node",
	"curl -X POST http://10.1.2.3:8042/modalities/ichor/store -d STUDY-ID":         "needs an Orthanc with a study",
	"sudo mv /var/lib/ichor/state.db /var/lib/ichor/state.db.newer":                "TestFormat2 opens the copy",
	"sudo mv /var/lib/ichor/state.db.format2 /var/lib/ichor/state.db":              "TestFormat2 opens the copy",
}

// documents are those whose commands an operator types.
var documents = []string{"install.md", "connect.md", "secure.md", "upgrade.md"}

// blocks returns the fenced blocks of one language in a document.
func blocks(t *testing.T, name, language string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	for _, rest := range strings.Split("\n"+string(text), "\n```"+language+"\n")[1:] {
		block, _, closed := strings.Cut(rest, "\n```")
		if !closed {
			t.Errorf("%s: a block of %s is not closed", name, language)
		}
		list = append(list, block)
	}
	return list
}

// TestDocuments runs the commands of the documents in their order, with the addresses of a node and a PACS of this test. What it
// does not run is listed with the reason.
func TestDocuments(t *testing.T) {
	pacs := startPACS(t)
	p := newProcess(t, pacs)
	p.start()
	dir := t.TempDir()
	here := strings.NewReplacer("10.1.2.3:104", pacs.Address(), "127.0.0.1:11112", p.address, "/var/backups/", dir+"/", "/dev/null", p.config)
	bare := filepath.Join(dir, "bare")
	used := map[string]bool{}
	ran := 0
	for _, name := range documents {
		for _, block := range blocks(t, name, "sh") {
			for line := range strings.SplitSeq(block, "\n") {
				if elsewhere[line] != "" {
					used[line] = true
					continue
				}
				args := strings.Fields(here.Replace(strings.TrimPrefix(line, "sudo ")))
				if args[0] != "ichor" {
					t.Errorf("%s: %q is neither run nor listed as run elsewhere", name, line)
					continue
				}
				if args[1] == "restore" {
					args = append(args, "--state", bare)
				}
				cmd := exec.CommandContext(t.Context(), binary, args[1:]...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "ICHOR_HTTP_LISTEN="+p.http, "ICHOR_ANALYSIS_LIBRARY="+library(t), "ICHOR_ANALYSIS_BUNDLE="+shippedBundle(t), "ICHOR_STATE="+p.state)
				out, err := cmd.CombinedOutput()
				// check may fail here, where nothing is set up as it says; but it must run.
				if code := cmd.ProcessState.ExitCode(); err != nil && (args[1] != "check" || code != exitFailed) {
					t.Errorf("%s: %s: %v\n%s", name, line, err, out)
				}
				ran++
			}
		}
	}
	if ran < 10 {
		t.Errorf("only %d commands were run", ran)
	}
	for line := range elsewhere {
		if !used[line] {
			t.Errorf("no document has %q", line)
		}
	}
}

// TestDocumentedSettings loads the pieces of configuration in the documents.
func TestDocumentedSettings(t *testing.T) {
	t.Parallel()
	n := 0
	for _, name := range documents {
		for _, block := range blocks(t, name, "yaml") {
			n++
			file := filepath.Join(t.TempDir(), "ichor.yaml")
			if err := os.WriteFile(file, []byte(block), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := config.Load(file, nil); err != nil {
				t.Errorf("%s: %v\n%s", name, err, block)
			}
		}
		for _, block := range blocks(t, name, "json") {
			if !json.Valid([]byte(block)) {
				t.Errorf("%s: not JSON:\n%s", name, block)
			}
		}
	}
	if n < 5 {
		t.Errorf("%d pieces of configuration found", n)
	}
	if _, err := config.Load("../../systemd/package/ichor.yaml", nil); err != nil {
		t.Errorf("the configuration of the package: %v", err)
	}
}
