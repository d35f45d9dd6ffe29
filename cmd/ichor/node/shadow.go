package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ichor/config"
	"ichor/pipeline"
	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/score"
	"ichor/pipeline/state"
)

// Compared is one live study, analysed by the bundle in use and by the one in the shadow.
type Compared struct {
	At     time.Time        `json:"at"`
	Case   state.CaseID     `json:"case"`
	Bundle string           `json:"bundle"` // in use, name and version
	Shadow string           `json:"shadow"`
	Status finding.Status   `json:"status"`
	Other  finding.Status   `json:"shadow_status"` // by the bundle in the shadow; empty: its analysis failed
	Found  *finding.Volumes `json:"volumes_ml,omitempty"`
	Would  *finding.Volumes `json:"shadow_volumes_ml,omitempty"`
	Dice   *float64         `json:"dice,omitempty"` // of the two masks of all blood; nil: other series, or nothing found by both
	Error  string           `json:"error,omitempty"`
	TookMS int64            `json:"took_ms"`
}

const (
	shadowFile   = "shadow.jsonl"
	shadowBytes  = 4 << 20 // then the file is renamed, and the one renamed before is gone
	shadowQueued = 2       // studies that wait, with their masks; more are not compared
)

// ShadowPaths are the files with comparisons, the older one first.
func ShadowPaths(c config.Config) []string {
	path := filepath.Join(c.State, shadowFile)
	return []string{path + ".old", path}
}

// shadowed is a study to compare.
type shadowed struct {
	id    state.CaseID
	study pipeline.Study
	first *analysis.Analysis
}

// compare hands an analysed study to the bundle in the shadow. It never waits.
func (n *Node) compare(id state.CaseID, study pipeline.Study, first *analysis.Analysis) {
	if n.config.Analysis.Shadow == "" || n.isCanary(study.UID) {
		return
	}
	kept := analysis.Analysis{Finding: first.Finding, Labels: first.Labels} // the volume is large
	select {
	case n.shadow <- shadowed{id, study, &kept}:
	default:
		n.log.Warn("study not compared, the bundle in the shadow is too slow", "case", id)
	}
}

// runShadow analyses live studies with a second bundle, one at a time. Nothing of it is sent.
func (n *Node) runShadow(ctx context.Context) error {
	if n.config.Analysis.Shadow == "" {
		return nil
	}
	c := n.config.Analysis
	c.Bundle = c.Shadow
	e, err := OpenEngine(ctx, c)
	if err != nil {
		n.log.Error("no comparison: the bundle of analysis.shadow cannot be used", "err", err)
		return nil // live studies do not depend on it
	}
	defer func() {
		if err := e.Close(); err != nil {
			n.log.Error("bundle in the shadow not closed", "err", err)
		}
	}()
	n.log.Info("a second bundle analyses live studies and sends nothing", "bundle", e.Bundle.Name+" "+e.Bundle.Version)
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-n.shadow:
			start := time.Now()
			second, err := e.Analyzer.Analyze(ctx, s.study)
			if ctx.Err() != nil {
				return nil
			}
			r := compared(s, second, err)
			r.At, r.TookMS, r.Shadow = now(), time.Since(start).Milliseconds(), e.Bundle.Name+" "+e.Bundle.Version
			if err := appendLine(ShadowPaths(n.config), r); err != nil {
				n.log.Error("comparison not recorded", "case", s.id, "err", err)
			}
		}
	}
}

func compared(s shadowed, second *analysis.Analysis, err error) Compared {
	f := s.first.Finding
	r := Compared{Case: s.id, Bundle: f.Bundle.Name + " " + f.Bundle.Version, Status: f.Status, Found: f.Volumes}
	if err != nil {
		r.Error = err.Error()
		return r
	}
	r.Other, r.Would = second.Finding.Status, second.Finding.Volumes
	if a, b := f.Series, second.Finding.Series; a != nil && b != nil && a.SeriesInstanceUID == b.SeriesInstanceUID && s.first.Labels != nil && second.Labels != nil {
		r.Dice = dice(s.first.Labels.Voxels, second.Labels.Voxels)
	}
	return r
}

// dice is the overlap of all blood in two masks on the same grid, nil if both are empty.
func dice(a, b []uint8) *float64 {
	if len(a) != len(b) {
		return nil
	}
	var both, sum float64
	for i := range a {
		x, y := a[i] > 0, b[i] > 0
		switch {
		case x && y:
			both++
			sum += 2
		case x || y:
			sum++
		}
	}
	if sum == 0 {
		return nil
	}
	d := 2 * both / sum
	return &d
}

// appendLine appends to the second path, and renames it to the first when it is large.
func appendLine(paths []string, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if info, err := os.Stat(paths[1]); err == nil && info.Size() > shadowBytes {
		if err := os.Rename(paths[1], paths[0]); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(paths[1], os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// ReadCompared reads the comparisons, the oldest first.
func ReadCompared(c config.Config) (all []Compared, err error) {
	for _, path := range ShadowPaths(c) {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		for lines.Scan() {
			var r Compared
			if json.Unmarshal(lines.Bytes(), &r) == nil { // a line that a crash cut off is left out
				all = append(all, r)
			}
		}
	}
	return all, nil
}

// Agreement sums up comparisons.
type Agreement struct {
	Studies    int        `json:"studies"`
	Failed     int        `json:"failed"`      // in the shadow
	SameStatus int        `json:"same_status"` // both analysed or both refused
	BothBlood  int        `json:"both_blood"`
	OnlyInUse  int        `json:"only_in_use"` // blood found by the bundle in use only
	OnlyShadow int        `json:"only_shadow"`
	BiasML     float64    `json:"bias_ml"`   // mean of shadow minus in use, of studies that both analysed
	LimitsML   [2]float64 `json:"limits_ml"` // 95 % limits of agreement (Bland and Altman)
	MedianDice float64    `json:"median_dice"`
}

// Agree sums up comparisons.
func Agree(all []Compared) (a Agreement) {
	var differences, overlaps []float64
	for _, r := range all {
		a.Studies++
		if r.Error != "" {
			a.Failed++
			continue
		}
		if r.Status == r.Other {
			a.SameStatus++
		}
		if r.Dice != nil {
			overlaps = append(overlaps, *r.Dice)
		}
		if r.Found == nil || r.Would == nil {
			continue
		}
		differences = append(differences, r.Would.Total-r.Found.Total)
		switch x, y := r.Found.Total > 0, r.Would.Total > 0; {
		case x && y:
			a.BothBlood++
		case x:
			a.OnlyInUse++
		case y:
			a.OnlyShadow++
		}
	}
	a.BiasML, a.LimitsML = score.Limits(differences)
	a.MedianDice = score.Median(overlaps)
	return a
}
