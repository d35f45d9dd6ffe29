package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ichor/scp/dcm"
	"ichor/scp/spool"
)

// runSpool runs one ichor spool command and returns what it prints.
func runSpool(args ...string) (string, error) {
	cmd := newSpool()
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.ExecuteContext(context.Background())
	return out.String(), err
}

// TestSpoolCommands lists and exports what a running node has received.
func TestSpoolCommands(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	s, err := spool.Open(t.Context(), spool.Options{Dir: filepath.Join(state, "spool"), ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sess := s.Intake()
	defer sess.Close()
	sent := map[string][]byte{}
	for _, o := range [][3]string{{"1.9", "1.1", "a"}, {"1.9", "1.2", "b"}, {"1.9", "1.2", "other"}, {"1.8", "1.3", "c"}} {
		d := &dcm.DataSet{}
		d.SetStrings(dcm.SOPClassUID, "UI", dcm.CTImageStorage)
		d.SetStrings(dcm.SOPInstanceUID, "UI", o[1])
		d.SetStrings(dcm.Modality, "CS", "CT")
		d.SetStrings(dcm.StudyInstanceUID, "UI", o[0])
		d.SetStrings(dcm.SeriesInstanceUID, "UI", o[0]+".1")
		d.SetStrings(dcm.SeriesDescription, "LO", o[2])
		var b bytes.Buffer
		if err := dcm.WriteDataSet(&b, d, dcm.ExplicitVRLittleEndian); err != nil {
			t.Fatal(err)
		}
		w, err := sess.Create(dcm.CTImageStorage, o[1], dcm.ExplicitVRLittleEndian, "CT1")
		if err == nil {
			_, err = w.Write(b.Bytes())
		}
		if err == nil {
			_, _, err = w.Commit()
		}
		if err != nil {
			t.Fatal(err)
		}
		name := o[1] + ".dcm"
		if o[2] == "other" {
			name = o[1] + "-2.dcm"
		}
		sent[filepath.Join(o[0], name)] = b.Bytes()
	}

	text, err := runSpool("list", "--state", state)
	if err != nil || !strings.Contains(text, "1.9") || !strings.Contains(text, "1.8") || strings.Contains(text, "1.3") {
		t.Errorf("list: %v\n%s", err, text)
	}
	if text, err = runSpool("list", "1.9", "--state", state); err != nil || !strings.Contains(text, "CT1") || !strings.Contains(text, "different content") {
		t.Errorf("list of a study: %v\n%s", err, text)
	}
	var listed struct {
		Studies []storedStudy
		Damaged []damagedRecord
	}
	text, err = runSpool("list", "1.9", "--json", "--state", state)
	if e := errors.Join(err, json.Unmarshal([]byte(text), &listed)); e != nil || len(listed.Studies) != 1 || len(listed.Studies[0].Instances) != 3 || listed.Damaged == nil {
		t.Errorf("list as JSON: %v\n%s", e, text)
	}

	out := filepath.Join(t.TempDir(), "out")
	if text, err = runSpool("export", "--all", "--out", out, "--state", state); err != nil || !strings.HasPrefix(text, "4 objects of 2 studies") {
		t.Errorf("export: %v\n%s", err, text)
	}
	found := 0
	err = filepath.WalkDir(out, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		found++
		name, _ := filepath.Rel(out, path)
		b, err := os.ReadFile(path)
		if len(sent[name]) == 0 || !bytes.HasSuffix(b, sent[name]) {
			t.Errorf("%s is not what was sent", name)
		}
		if _, err := dcm.Read(bytes.NewReader(b), int64(len(b)), dcm.Limits{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return err
	})
	if err != nil || found != len(sent) {
		t.Errorf("%d files, %v", found, err)
	}

	for _, c := range []struct {
		args  []string
		usage bool
		words string
	}{
		{[]string{"export", "1.9", "--out", out, "--state", state}, false, "exists"},
		{[]string{"export", "1.7", "--out", out, "--state", state}, false, "not in the spool"},
		{[]string{"list", "1.7", "--state", state}, false, "not in the spool"},
		{[]string{"list", "--state", t.TempDir()}, false, "use the state folder"},
		{[]string{"export", "1.9", "--state", state}, true, "--out"},
		{[]string{"export", "--out", out, "--state", state}, true, "--all"},
		{[]string{"export", "1.9", "--all", "--out", out, "--state", state}, true, "--all"},
	} {
		_, err := runSpool(c.args...)
		if err == nil || errors.As(err, new(usageError)) != c.usage || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%v: %v", c.args, err)
		}
	}
}
