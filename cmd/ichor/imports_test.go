package main

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// allowed says which packages of ours each part may import; a trailing slash includes what lies below. Data flows one way,
// scp to pipeline to reporting. cmd/ichor/node joins them; commands use the node, which knows no command.
var allowed = map[string][]string{
	"config":            {},
	"scp":               {"scp/ul", "scp/dimse", "scp/dcm", "scp/spool", "scp/commitment"},
	"scp/ul":            {},
	"scp/dcm":           {},
	"scp/":              {"scp/"},
	"pipeline/finding":  {},
	"pipeline":          {"pipeline/", "scp/dcm", "models/bundle"},
	"pipeline/analysis": {"pipeline/finding", "pipeline/volume", "pipeline/nifti", "scp/dcm"},
	"pipeline/subtype":  {"pipeline/bleed", "pipeline/volume", "pipeline/finding", "models/bundle"},
	"pipeline/phantom":  {"pipeline/phantom/synthetic", "pipeline/finding", "scp/dcm", "pipeline/volume"},
	"pipeline/":         {"pipeline/assembly", "pipeline/volume", "pipeline/window", "pipeline/finding", "pipeline/state", "scp/spool", "scp/dcm", "models/bundle"},
	"models/bundle":     {},
	"models/":           {"models/bundle"},
	"reporting":         {"reporting/", "pipeline/analysis", "pipeline/finding", "pipeline/volume", "pipeline/state", "scp/ul", "scp/dimse", "scp/dcm", "scp/commitment"},
	"reporting/":        {"reporting/", "pipeline/analysis", "pipeline/finding", "pipeline/volume", "pipeline/state", "scp/ul", "scp/dimse", "scp/dcm", "scp/commitment"},
	"reporting/words":   {"pipeline/finding"},
	"reporting/outcome": {"reporting", "reporting/iod", "pipeline/analysis", "pipeline/finding", "pipeline/state", "scp/dcm"},
	"cmd/ichor/node":    {"config", "scp", "scp/", "pipeline", "pipeline/", "models/", "reporting", "reporting/"},
	"cmd/ichor/doctor":  {"cmd/ichor/node", "config", "scp", "scp/", "reporting/"},
	"cmd/":              {"cmd/ichor/node", "cmd/ichor/doctor", "cmd/ichor/load", "config", "scp", "scp/", "pipeline", "pipeline/", "models/", "reporting", "reporting/"},
}

// importers names the one package that may import each third-party module.
var importers = map[string]string{
	"github.com/grailbio/go-dicom":    "scp/dcm",
	"golang.org/x/text":               "scp/dcm",
	"github.com/nats-io/nats.go":      "pipeline/queue",
	"github.com/nats-io/nats-server":  "pipeline/queue",
	"go.etcd.io/bbolt":                "pipeline/state",
	"github.com/yalue/onnxruntime_go": "models/onnx",
	"github.com/spf13/viper":          "config",
	"go.yaml.in/yaml":                 "config",
	"github.com/spf13/cobra":          "cmd/ichor",
	"github.com/schollz/progressbar":  "cmd/ichor",
	"github.com/coreos/go-systemd":    "cmd/ichor/node",
	"github.com/prometheus/":          "reporting/metrics",
	"go.opentelemetry.io/":            "reporting/traces",
	"golang.org/x/term":               "cmd/ichor",
	"golang.org/x/image":              "reporting/sc",
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "ichor/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) < 20 {
		t.Fatalf("only %d packages listed", len(lines))
	}
	for _, line := range lines {
		words := strings.Fields(line)
		pkg := strings.TrimPrefix(words[0], "ichor/")
		for _, imported := range words[1:] {
			if ours, ok := strings.CutPrefix(imported, "ichor/"); ok {
				if rule := ruleOf(pkg); !matches(ours, rule) {
					t.Errorf("%s imports %s; it may import %v", pkg, ours, rule)
				}
				continue
			}
			for module, owner := range importers {
				if strings.HasPrefix(imported, module) && pkg != owner {
					t.Errorf("%s imports %s; only %s may", pkg, imported, owner)
				}
			}
		}
	}
}

// TestCommandsShareDownwards: main.go names the commands, one a file, and no command uses what another command's file, or
// main.go, declares. What commands share is in files that declare no command.
func TestCommandsShareDownwards(t *testing.T) {
	fset := token.NewFileSet()
	var files []*ast.File
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	lenient := types.Config{Importer: noImports{}, Error: func(error) {}}
	pkg, _ := lenient.Check("main", fset, files, &info) // errors of what it cannot import do not matter
	uses := map[string][]string{}                       // file that declares it: "file that uses it: name"
	for id, o := range info.Uses {
		if from, of := fset.Position(id.Pos()).Filename, fset.Position(o.Pos()).Filename; o.Pkg() == pkg && from != of {
			uses[of] = append(uses[of], from+": "+id.Name)
		}
	}
	commands := 0
	for file, users := range uses {
		if !slices.ContainsFunc(users, func(u string) bool { return strings.HasPrefix(u, "main.go: new") }) && file != "main.go" {
			continue
		}
		commands++
		for _, u := range users {
			if !strings.HasPrefix(u, "main.go: new") {
				t.Errorf("%s declares a command; move what others use out of it: %s", file, u)
			}
		}
	}
	if commands < 10 {
		t.Errorf("%d commands found", commands)
	}
}

// noImports finds no package.
type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) { return nil, errors.New(path) }

func ruleOf(pkg string) []string {
	if rule, ok := allowed[pkg]; ok {
		return rule
	}
	best := ""
	for prefix := range allowed {
		if strings.HasSuffix(prefix, "/") && strings.HasPrefix(pkg, prefix) && len(prefix) > len(best) {
			best = prefix
		}
	}
	return allowed[best]
}

func matches(pkg string, rule []string) bool {
	return slices.ContainsFunc(rule, func(r string) bool {
		return pkg == r || strings.HasSuffix(r, "/") && strings.HasPrefix(pkg, r)
	})
}
