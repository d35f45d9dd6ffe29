package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"ichor/scp/dcm"
)

// The version is written in one place; the changelog has an entry for it, as its first.
func TestVersion(t *testing.T) {
	_, long, _ := command(t, "--version")
	code, short, _ := command(t, "version")
	if code != exitOK || short != long || !strings.HasPrefix(short, "ichor "+version) {
		t.Errorf("version prints %q, --version %q", short, long)
	}
	if want := "ICHOR_" + strings.ReplaceAll(version, ".", "_"); dcm.ImplementationVersionName != want {
		t.Errorf("Implementation Version Name %s, want %s", dcm.ImplementationVersionName, want)
	}
	raw, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	top := regexp.MustCompile(`(?m)^## v(\S+)$`).FindSubmatch(raw)
	if top == nil || string(top[1]) != version {
		t.Errorf("the first entry of CHANGELOG.md is %q, the version %s", top, version)
	}
}
