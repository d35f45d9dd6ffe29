package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ichor/config"
	"ichor/scp"
	"ichor/scp/dcm"
	"ichor/scp/dcm/codec"
	"ichor/scp/scptest"
	"ichor/scp/secure"
	"ichor/scp/ul"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/conformance.md")

const statement = "../../docs/conformance.md"

// TestConformance compares the tables of the conformance statement with those that the program works by.
func TestConformance(t *testing.T) {
	tables := map[string]string{
		"identity": identityTable(), "storage": storageTable(), "services": servicesTable(), "syntaxes": syntaxTable(t),
		"statuses": statusTable(), "rejections": rejectionTable(), "results": resultTable(), "settings": settingsTable(),
		"tls": tlsTable(t), "codes": codeTable(t),
	}
	text, err := os.ReadFile(statement)
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?s)(<!-- table: (\w+) -->\n).*?(<!-- end -->)`)
	seen := map[string]bool{}
	fresh := block.ReplaceAllStringFunc(string(text), func(s string) string {
		m := block.FindStringSubmatch(s)
		table, ok := tables[m[2]]
		if !ok {
			t.Errorf("no table is called %s", m[2])
		}
		seen[m[2]] = true
		return m[1] + table + m[3]
	})
	if len(seen) != len(tables) {
		t.Errorf("%d of %d tables are in the statement", len(seen), len(tables))
	}
	if *update {
		if err := os.WriteFile(statement, []byte(fresh), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if fresh != string(text) {
		t.Error("docs/conformance.md is not what the program does: run go test ./cmd/ichor -run TestConformance -update, and read the difference")
	}
}

// markdown is a table of rows under a head.
func markdown(head string, rows [][]string) string {
	columns := strings.Split(head, "|")
	b := "|" + strings.Join(columns, "|") + "|\n|" + strings.Repeat("---|", len(columns)) + "\n"
	for _, r := range rows {
		for i := range r {
			r[i] = strings.ReplaceAll(r[i], "|", `\|`)
		}
		b += "| " + strings.Join(r, " | ") + " |\n"
	}
	return b
}

func identityTable() string {
	c := config.Default().DICOM
	return markdown("Item|Value", [][]string{
		{"Application Context Name", "`" + ul.ApplicationContextName + "`"},
		{"Implementation Class UID", "`" + dcm.ImplementationClassUID + "`"},
		{"Implementation Version Name", "`" + dcm.ImplementationVersionName + "`"},
		{"AE title, default", "`" + c.AETitle + "`"},
		{"Port, default", "`" + c.Listen + "`; TLS: off"},
		{"Associations accepted at a time, default", fmt.Sprintf("%d in total, %d per peer", c.MaxAssociations, c.MaxPerPeer)},
		{"Maximum length received", fmt.Sprintf("%d bytes; the length a peer announces is respected, 0 means no limit", 128<<10)},
		{"Asynchronous operations window", "1 invoked, 1 performed"},
		{"Largest object, default", fmt.Sprintf("%d MiB", c.MaxObjectMiB)},
		{"Silence between two messages, default", c.IdleTimeout.String()},
		{"ARTIM, default", c.RequestTimeout.String()},
	})
}

func storageTable() string {
	rows := [][]string{{"every Storage SOP class of the standard, retired and future ones too", "`" + scp.StorageRoot + "` and below"}}
	for _, uid := range scp.OtherStorageClasses() {
		rows = append(rows, []string{dcm.UIDName(uid), "`" + uid + "`"})
	}
	rows = append(rows, []string{"private SOP classes, if `dicom.private_classes` is set (default)", "every UID outside of `1.2.840.10008`"})
	return markdown("SOP class stored|UID", rows)
}

func servicesTable() string {
	plain := names(scp.PlainSyntaxes())
	little := names(scp.PlainSyntaxes()[:2])
	const find = "1.2.840.10008.5.1.4.1.2.2.1"
	row := func(name, uid, scu, scpRole, syntaxes string) []string {
		return []string{name, "`" + uid + "`", scu, scpRole, syntaxes}
	}
	return markdown("Service|SOP class UID|SCU|SCP|Transfer syntaxes", [][]string{
		row("Verification", dcm.VerificationSOPClass, "yes", "yes", plain),
		{"Storage of received objects", "as above", "no", "yes", "as below"},
		{"Storage of results", "as below", "yes", "no", "as below"},
		row("Storage Commitment Push Model", dcm.StorageCommitmentPushModel, "yes, by destination", "yes", little),
		row("Study Root Query/Retrieve, FIND", find, "yes, by peer", "no", little),
	})
}

func names(uids []string) string {
	var list []string
	for _, uid := range uids {
		list = append(list, dcm.UIDName(uid))
	}
	return strings.Join(list, ", ")
}

// syntaxTable lists what is decoded with OpenJPEG 2.5 beside what is without: a stand-in says that it is there.
func syntaxTable(t *testing.T) string {
	dir := t.TempDir()
	for name, script := range map[string]string{"opj_decompress": "echo openjp2 library v2.5.0", "prlimit": `while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	all, missing := codec.Detect(t.Context())
	if missing != nil {
		t.Fatal(missing)
	}
	always := codec.New(codec.Options{}).TransferSyntaxes()
	var rows [][]string
	for i, uid := range all.TransferSyntaxes() {
		when := "always"
		if !slices.Contains(always, uid) {
			when = "if OpenJPEG is installed"
		}
		rows = append(rows, []string{strconv.Itoa(i + 1), dcm.UIDName(uid), "`" + uid + "`", when})
	}
	return markdown("Preference|Transfer syntax|UID|Accepted", rows)
}

func statusTable() string {
	rows := [][]string{{"0000H", "success", "the object is on disk, file and folder synced, or was stored before"}}
	for _, r := range scp.StoreRefusals() {
		code, words, _ := strings.Cut(r.Status.String(), " ")
		rows = append(rows, []string{code, words, r.Comment})
	}
	return markdown("Status|Meaning|Error Comment (0000,0902), or when", rows)
}

func rejectionTable() string {
	var rows [][]string
	for _, r := range []struct {
		e    ul.RejectError
		when string
	}{
		{ul.RejectError{Result: ul.RejectedPermanent, Source: ul.RejectSourceUser, Reason: ul.ReasonApplicationContext}, "unknown application context"},
		{ul.RejectError{Result: ul.RejectedPermanent, Source: ul.RejectSourceUser, Reason: ul.ReasonCalledAE}, "wrong called AE title, if dicom.check_called_ae is set"},
		{ul.RejectError{Result: ul.RejectedPermanent, Source: ul.RejectSourceUser, Reason: ul.ReasonCallingAE}, "calling AE title, address or certificate does not belong to a peer"},
		{ul.RejectError{Result: ul.RejectedPermanent, Source: ul.RejectSourceACSE, Reason: ul.ReasonACSENone}, "the user identity required by the peer's entry is missing or wrong"},
		{ul.RejectError{Result: ul.RejectedPermanent, Source: ul.RejectSourceACSE, Reason: ul.ReasonProtocolVersion}, "unknown protocol version"},
		{ul.RejectError{Result: ul.RejectedTransient, Source: ul.RejectSourcePresentation, Reason: ul.ReasonLocalLimit}, "too many associations in total, or of this peer"},
	} {
		rows = append(rows, []string{fmt.Sprint(r.e.Result), fmt.Sprint(r.e.Source), fmt.Sprint(r.e.Reason), r.when})
	}
	return markdown("Result|Source|Reason|When", rows)
}

func resultTable() string {
	var rows [][]string
	for _, uid := range []string{dcm.SegmentationStorage, dcm.LabelMapSegmentationStorage, dcm.SecondaryCaptureImageStorage, dcm.Comprehensive3DSRStorage, dcm.KeyObjectSelectionDocumentStorage} {
		rows = append(rows, []string{dcm.UIDName(uid), "`" + uid + "`", names([]string{dcm.ExplicitVRLittleEndian, dcm.ImplicitVRLittleEndian})})
	}
	return markdown("SOP class sent|UID|Transfer syntaxes, one per presentation context", rows)
}

func settingsTable() string {
	var rows [][]string
	var walk func(t reflect.Type, prefix string)
	walk = func(t reflect.Type, prefix string) {
		for i := range t.NumField() {
			f := t.Field(i)
			key, value := prefix+f.Tag.Get("mapstructure"), f.Tag.Get("default")
			switch {
			case f.Type.Kind() == reflect.Struct:
				walk(f.Type, key+".")
				continue
			case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
				walk(f.Type.Elem(), key+"[].")
				continue
			case value != "":
				value = "`" + value + "`"
			}
			rows = append(rows, []string{"`" + key + "`", value, f.Tag.Get("doc")})
		}
	}
	walk(reflect.TypeFor[config.Config](), "")
	return markdown("Key|Default|What it is", rows)
}

func tlsTable(t *testing.T) string {
	authority := scptest.NewAuthority(t)
	own := authority.Valid("node")
	c, err := secure.Open(secure.Files{Certificate: own.File, Key: own.Key, CA: authority.CA}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	client := c.Client("node")
	rows := [][]string{{"Lowest version", tls.VersionName(client.MinVersion)}, {"Highest version", tls.VersionName(tls.VersionTLS13)}}
	for _, id := range client.CipherSuites {
		rows = append(rows, []string{"Suite of TLS 1.2", tls.CipherSuiteName(id)})
	}
	rows = append(rows, []string{"Suites of TLS 1.3", "all: they are AEAD, with ephemeral keys"})
	return markdown("Item|Value", rows)
}

// codeTable reads the one table of codes from its source, for it is a list of variables.
func codeTable(t *testing.T) string {
	file, err := parser.ParseFile(token.NewFileSet(), "../../reporting/iod/code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.CompositeLit); ok && fmt.Sprint(lit.Type) == "Code" && len(lit.Elts) == 3 {
			var r []string
			for _, e := range lit.Elts {
				s, err := strconv.Unquote(e.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				r = append(r, s)
			}
			rows = append(rows, r)
		}
		return true
	})
	if len(rows) < 20 {
		t.Fatalf("only %d codes found", len(rows))
	}
	slices.SortFunc(rows, func(a, b []string) int { return slices.Compare([]string{a[1], a[0]}, []string{b[1], b[0]}) })
	return markdown("Code Value|Scheme|Code Meaning", rows)
}
