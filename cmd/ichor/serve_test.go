package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ichor/config"
	"ichor/pipeline/finding"
	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/state"
	"ichor/reporting/web"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/receiver"
)

// within ends with the test, or when patience is at its end.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, fmt.Errorf("not within %v", patience))
	t.Cleanup(cancel)
	return ctx
}

// toPACS is a node that delivers to pacs.
func toPACS(t testing.TB, pacs *receiver.Receiver) config.Config {
	c := testConfig(t)
	c.Destinations = []config.Destination{{Name: "pacs", Address: pacs.Address(), AETitle: "PACS"}}
	return c
}

func countKinds(objects []receiver.Instance) map[string]int {
	kinds := map[string]int{}
	for _, o := range objects {
		kinds[dcm.UIDName(o.SOPClassUID)]++
	}
	return kinds
}

func TestStudyToPACS(t *testing.T) {
	t.Parallel()
	for _, info := range samples(t) {
		t.Run(info.Name, func(t *testing.T) {
			t.Parallel()
			pacs := startPACS(t)
			n := startNode(t, toPACS(t, pacs))
			dir, study := sampleStudy(t, info.Name)
			files := send(t, n.Addr(), dir)
			c, err := delivered(within(t), n.State(), state.IDOf(files[0].StudyInstanceUID), func() {})
			if err != nil {
				t.Fatal(err)
			}
			checkVolumes(t, *c.Finding.Volumes, study.TruthML)
			want := 2 // SC and SR
			if c.Finding.Volumes.Total > 0 {
				want = 4 // and SEG and KO
			}
			if kinds := countKinds(pacs.Objects()); len(kinds) != want {
				t.Errorf("the PACS holds %v", kinds)
			}
		})
	}
}

func samples(t *testing.T) []synthetic.Info {
	infos, err := phantom.List()
	if err != nil {
		t.Fatal(err)
	}
	if len(infos) < 2 {
		t.Fatalf("%d samples are shipped", len(infos))
	}
	return infos
}

// checkVolumes holds what the issue of the first bundle asks: total within 25 % of truth, every subtype of more than
// 5 mL found as such, a normal head below 1 mL.
func checkVolumes(t *testing.T, found, truth finding.Volumes) {
	t.Helper()
	if truth.Total == 0 {
		if found.Total >= 1 {
			t.Errorf("%.2f mL found in a normal head", found.Total)
		}
		return
	}
	if off := math.Abs(found.Total-truth.Total) / truth.Total; off > 0.25 {
		t.Errorf("total %.1f mL, truth %.1f mL: %.0f %% off", found.Total, truth.Total, off*100)
	}
	for _, s := range finding.Subtypes {
		if truth.Of(s) > 5 && found.Of(s) < truth.Of(s)/2 {
			t.Errorf("%s %.1f mL, truth %.1f mL", s, found.Of(s), truth.Of(s))
		}
	}
}

func TestSameStudyAgain(t *testing.T) {
	t.Parallel()
	pacs := startPACS(t)
	settings := toPACS(t, pacs)
	n := startNode(t, settings)
	dir, _ := sampleStudy(t, "normal")
	files := send(t, n.Addr(), dir)
	id := state.IDOf(files[0].StudyInstanceUID)
	if _, err := delivered(within(t), n.State(), id, func() {}); err != nil {
		t.Fatal(err)
	}
	first := pacs.Objects()
	send(t, n.Addr(), dir)
	time.Sleep(4 * settings.Assembly.QuietPeriod)
	c, err := n.State().Case(id)
	if err != nil {
		t.Fatal(err)
	}
	if c.Revision != 1 {
		t.Errorf("the same objects made revision %d", c.Revision)
	}
	if again := pacs.Objects(); len(again) != len(first) || slices.ContainsFunc(again, func(o receiver.Instance) bool { return o.Count != 1 }) {
		t.Errorf("results went out again: %v", countKinds(again))
	}
}

func TestRestartInTheMiddle(t *testing.T) {
	t.Parallel()
	pacs := startPACS(t)
	c := toPACS(t, pacs)
	c.Assembly.QuietPeriod, c.Assembly.Limit = time.Hour, time.Hour // the first life never gets to the analysis
	dir, _ := sampleStudy(t, "normal")
	var id state.CaseID
	t.Run("first life", func(t *testing.T) {
		n := startNode(t, c)
		id = state.IDOf(send(t, n.Addr(), dir)[0].StudyInstanceUID)
	})
	c.Assembly.QuietPeriod = 100 * time.Millisecond
	n := startNode(t, c)
	if _, err := delivered(within(t), n.State(), id, func() {}); err != nil {
		t.Fatal(err)
	}
}

// TestFailedStudyAgain gives up a case whose objects are in the spool; the same study sent again is analysed.
func TestFailedStudyAgain(t *testing.T) {
	t.Parallel()
	pacs := startPACS(t)
	c := toPACS(t, pacs)
	quiet := c.Assembly.QuietPeriod
	c.Assembly.QuietPeriod, c.Assembly.Limit = time.Hour, time.Hour
	dir, _ := sampleStudy(t, "normal")
	var id state.CaseID
	t.Run("first life", func(t *testing.T) {
		n := startNode(t, c)
		files := send(t, n.Addr(), dir)
		failed, err := n.State().Queue(files[0].StudyInstanceUID, len(files), "test", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		id = failed.ID
		if err := n.State().Fail(id, failed.Revision, "for the test", time.Now()); err != nil {
			t.Fatal(err)
		}
	})
	c.Assembly.QuietPeriod = quiet
	n := startNode(t, c)
	time.Sleep(2 * quiet)
	if c, err := n.State().Case(id); err != nil || c.Phase != state.Failed {
		t.Fatalf("a restart alone made it %s, %v", c.Phase, err)
	}
	send(t, n.Addr(), dir)
	for ctx := within(t); ; time.Sleep(20 * time.Millisecond) {
		c, err := n.State().Case(id)
		if err != nil {
			t.Fatal(err)
		}
		if c.Phase == state.Analyzed {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("still %s", c.Phase)
		}
	}
}

func TestDestinationDown(t *testing.T) {
	t.Parallel()
	pacs := startPACS(t)
	c := toPACS(t, pacs)
	c.Destinations = append(c.Destinations, config.Destination{Name: "dead", Address: "127.0.0.1:1", AETitle: "DEAD"})
	n := startNode(t, c)
	pacs.Fail(dimse.OutOfResources, 2)
	dir, _ := sampleStudy(t, "normal")
	send(t, n.Addr(), dir)
	if err := pacs.Wait(within(t), 2); err != nil {
		t.Fatalf("a dead destination and two refusals held up the living one: %v", err)
	}
}

func TestWeb(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	c.HTTP.Token = "secret"
	n := startNode(t, c)
	dir, _ := sampleStudy(t, "normal")
	files := send(t, n.Addr(), dir)
	id := state.IDOf(files[0].StudyInstanceUID)
	if _, err := delivered(within(t), n.State(), id, func() {}); err != nil {
		t.Fatal(err)
	}
	ask := func(path, token string) (int, []byte) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.HTTPAddr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var raw json.RawMessage
		_ = json.NewDecoder(answer.Body).Decode(&raw) // health answers in plain text
		return answer.StatusCode, raw
	}
	for _, c := range []struct {
		path, token string
		want        int
	}{
		{"/healthz", "", 200}, {"/readyz", "", 200},
		{"/metrics", "", 401}, {"/metrics", "secret", 200},
		{"/api/v1/cases", "", 401}, {"/api/v1/cases", "wrong", 401}, {"/api/v1/cases", "secret", 200},
		{"/api/v1/cases/" + string(id), "secret", 200}, {"/api/v1/cases/0000000000000000", "secret", 404}, {"/nothing", "secret", 404},
		{"/", "", 401}, {"/", "secret", 200}, {"/cases/" + string(id), "secret", 200}, // the dashboard
	} {
		if code, _ := ask(c.path, c.token); code != c.want {
			t.Errorf("%s with token %q: %d, want %d", c.path, c.token, code, c.want)
		}
	}
	var d web.Detail
	if _, raw := ask("/api/v1/cases/"+string(id), "secret"); json.Unmarshal(raw, &d) != nil || d.Finding == nil || d.Finding.Status != finding.Analyzed {
		t.Errorf("case detail %s", raw)
	}
}

// TestBadStudies sends what cannot be analysed: it is stored and acknowledged, its case ends as refused with a code and
// a sentence, which goes to the destination where the study may hold a CT, and a good study beside it is not held up.
func TestBadStudies(t *testing.T) {
	t.Parallel()
	pacs := startPACS(t)
	n := startNode(t, toPACS(t, pacs))
	bad := map[string]func(i int, d *dcm.DataSet) bool{ // whether to keep the file
		"one slice": func(i int, _ *dcm.DataSet) bool { return i == 5 },
		"MR":        func(_ int, d *dcm.DataSet) bool { d.SetStrings(dcm.Modality, "CS", "MR"); return true },
		"mixed orientation": func(i int, d *dcm.DataSet) bool {
			if i%2 == 0 {
				d.SetDecimals(dcm.ImageOrientationPatient, 0, 1, 0, 0, 0, -1)
			}
			return true
		},
		"no positions": func(_ int, d *dcm.DataSet) bool { d.Delete(dcm.ImagePositionPatient); return true },
		"short pixel data": func(_ int, d *dcm.DataSet) bool {
			d.SetBytes(dcm.PixelData, "OW", make([]byte, 100))
			return true
		},
		"no pixel data": func(_ int, d *dcm.DataSet) bool { d.Delete(dcm.PixelData); return true },
	}
	good, _ := sampleStudy(t, "normal")
	ids := map[string]state.CaseID{}
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		dir, _ := sampleStudy(t, "normal")
		edit(t, dir, bad[name])
		ids[name] = state.IDOf(send(t, n.Addr(), dir)[0].StudyInstanceUID)
	}
	goodID := state.IDOf(send(t, n.Addr(), good)[0].StudyInstanceUID)
	for name, id := range ids {
		c, err := delivered(within(t), n.State(), id, func() {})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.Phase != state.Refused || c.Finding.Code == "" || c.Finding.Reason == "" {
			t.Errorf("%s: %s, code %q, reason %q", name, c.Phase, c.Finding.Code, c.Finding.Reason)
		}
		t.Logf("%-18s %s: %s", name, c.Finding.Code, c.Finding.Reason)
	}
	c, err := delivered(within(t), n.State(), goodID, func() {})
	if err != nil || c.Phase != state.Analyzed {
		t.Errorf("the good study beside them: %s, %v", c.Phase, err)
	}
	if kinds := countKinds(pacs.Objects()); kinds[dcm.UIDName(dcm.Comprehensive3DSRStorage)] != len(bad) {
		t.Errorf("one report a study expected, but none for the MR: %v", kinds)
	}
}

// edit rewrites the files of a study; i counts them in order of name.
func edit(t *testing.T, dir string, change func(i int, d *dcm.DataSet) bool) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.dcm"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	for i, path := range paths {
		r, err := openFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := dcm.Read(r, r.Size(), dcm.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		pixels, err := f.PixelData()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		f.Data.SetBytes(dcm.PixelData, "OW", pixels)
		if !change(i, f.Data) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var b strings.Builder
		if err := dcm.WriteFile(&b, f.Meta, f.Data); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
