package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/pipeline"
	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

const (
	csvFile   = "findings.csv" // a line for each study
	inputFile = "input.json"   // in the folder of each study, written last
)

// input is what inputFile says about the study whose results are beside it.
type input struct {
	Input    string  `json:"input"`    // path below the analysed folder: a NIfTI file, or the folder of the DICOM files
	Files    int     `json:"files"`    // of the study
	Seconds  float64 `json:"seconds"`  // that the analysis took
	Identity string  `json:"identity"` // digest of names, sizes and times of the files, the networks and the settings
}

// item is one study of a folder of many.
type item struct {
	root    string
	study   pipeline.Study
	results string   // name of the folder of its results
	input   string   // see input
	paths   []string // of its files
}

// total counts how the studies of a folder ended.
type total struct {
	Studies    int    `json:"studies"`
	Analyzed   int    `json:"analyzed"`
	Refused    int    `json:"refused"`
	Failed     int    `json:"failed"`
	Skipped    int    `json:"skipped"` // of these, analysed by an earlier run
	CSV        string `json:"csv"`
	Disclaimer string `json:"disclaimer"`
}

// analyzeAll analyses every study below root, writes the results of each to a folder of its own below out, and a line for each to
// findings.csv. The error says how many failed.
func analyzeAll(ctx context.Context, c config.Config, root, out string, asJSON bool, w io.Writer) (err error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("results folder: %w; choose a writable folder with --out", err)
	}
	items, others, err := studiesBelow(ctx, root, out)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return fmt.Errorf("no DICOM file and no NIfTI file below %s (%d other files)", root, others)
	}
	e, err := node.OpenEngine(ctx, c.Analysis)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	sum := total{Studies: len(items), CSV: filepath.Join(out, csvFile), Disclaimer: finding.Disclaimer}
	f, err := os.Create(sum.CSV)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := csv.NewWriter(f)
	if err := lines.Write(columns()); err != nil {
		return err
	}
	bar := progress(len(items), "analysing")
	for i := range items {
		it := items[i]
		items[i] = item{} // sets have hundreds of thousands of files
		done, skipped, failure := it.analyze(ctx, e, c, filepath.Join(out, it.results))
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case failure != nil:
			sum.Failed++
		case done.Status == finding.Refused:
			sum.Refused++
		default:
			sum.Analyzed++
		}
		if skipped {
			sum.Skipped++
		}
		if err := lines.Write(it.line(filepath.Join(out, it.results), done, failure)); err != nil {
			return err
		}
		if lines.Flush(); lines.Error() != nil {
			return lines.Error()
		}
		if err := bar.Add(1); err != nil {
			return err
		}
	}
	if err := bar.Finish(); err != nil {
		return err
	}
	if asJSON {
		err = printJSON(w, sum)
	} else {
		_, err = fmt.Fprintf(w, "%d studies: %d analyzed, %d refused, %d failed; %d of them by an earlier run\nresults: %s\n%s\n", sum.Studies, sum.Analyzed, sum.Refused, sum.Failed,
			sum.Skipped, sum.CSV, finding.Disclaimer)
	}
	if err == nil && sum.Failed > 0 {
		err = fmt.Errorf("%d of %d studies failed; %s says why, and the same command tries them again", sum.Failed, sum.Studies, sum.CSV)
	}
	return err
}

// studiesBelow finds the studies below root: DICOM files by Study Instance UID, in the order of their first file, then NIfTI files.
// The folder out, which may lie below root, is left out. A damaged file counts as part of the study that its header names before
// the damage, or whose files are the only ones in its folder; else the damaged files of a folder are a study of their own.
func studiesBelow(ctx context.Context, root, out string) (items []item, others int, err error) {
	all, err := find(ctx, root, findOptions{without: out, tolerant: true})
	if err != nil {
		return nil, 0, err
	}
	byStudy := map[string]int{}
	studyOf := func(key, uid string) int {
		i, ok := byStudy[key]
		if !ok {
			i = len(items)
			byStudy[key] = i
			items = append(items, item{results: folderName(key), study: pipeline.Study{UID: uid, Complete: "files"}})
		}
		return i
	}
	const several = -1
	inFolder := map[string]int{} // the only study with files in a folder, or several
	for _, f := range all.files {
		folder := filepath.Dir(f.path)
		i := studyOf(cmp.Or(f.StudyInstanceUID, folder), cmp.Or(f.StudyInstanceUID, dcm.DeriveUID("ichor", "folder", folder))) // files without UID: a folder is a study
		items[i].add(f.path, f)
		if other, ok := inFolder[folder]; ok && other != i {
			inFolder[folder] = several
		} else {
			inFolder[folder] = i
		}
	}
	for _, f := range all.damaged {
		folder := filepath.Dir(f.path)
		i, ok := byStudy[f.StudyInstanceUID]
		if !ok {
			i, ok = inFolder[folder]
		}
		switch {
		case ok && i != several:
		case dcm.PlausibleUID(f.StudyInstanceUID):
			i = studyOf(f.StudyInstanceUID, f.StudyInstanceUID)
		default:
			i = studyOf("damaged files of "+folder, dcm.DeriveUID("ichor", "damaged", folder))
		}
		items[i].add(f.path, f)
	}
	for _, f := range all.scans {
		name, err := filepath.Rel(root, string(f))
		if err != nil || name == "." { // root is the file
			name = filepath.Base(string(f))
		}
		items = append(items, item{results: name, paths: []string{string(f)}, study: pipeline.Study{NIfTI: f, Complete: "files"}})
	}
	for i := range items {
		items[i].root, items[i].input = root, commonPath(root, items[i].paths)
	}
	return items, all.others, nil
}

func (it *item) add(path string, f dicomFile) {
	it.paths = append(it.paths, path)
	it.study.Objects = append(it.study.Objects, f)
}

// folderName is a UID as the name of a folder; what is no plain word is replaced by a derived UID.
func folderName(uid string) string {
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '.' || r == '_' || r == '-'
	}
	if len(uid) > 128 || uid[0] == '.' || strings.TrimFunc(uid, plain) != "" || isNIfTI(uid) || uid == csvFile {
		return dcm.DeriveUID("ichor", "folder", uid)
	}
	return uid
}

// commonPath is the file, or the folder that holds all files, as a path below root.
func commonPath(root string, paths []string) string {
	common := paths[0]
	for _, p := range paths[1:] {
		for common != "." && common != "/" && p != common && !strings.HasPrefix(p, strings.TrimSuffix(common, "/")+"/") {
			common = filepath.Dir(common)
		}
	}
	if rel, err := filepath.Rel(root, common); err == nil {
		return rel
	}
	return common
}

// analyze analyses the study and writes its results to dir, unless an earlier run did.
func (it *item) analyze(ctx context.Context, e *node.Engine, c config.Config, dir string) (f finding.Finding, skipped bool, err error) {
	identity, err := it.identity(e, c)
	if err != nil {
		return f, false, err
	}
	if f, ok := finished(dir, identity); ok {
		return f, true, nil
	}
	start := time.Now()
	if f, err = analyzeStudy(ctx, e, c, it.study, dir); err != nil {
		return f, false, err
	}
	path := filepath.Join(dir, inputFile)
	seconds := float64(time.Since(start).Milliseconds()) / 1000
	if err := writeFile(path+".tmp", func(w io.Writer) error { return printJSON(w, input{it.input, len(it.paths), seconds, identity}) }); err != nil {
		return f, false, err
	}
	return f, false, os.Rename(path+".tmp", path)
}

// identity tells whether results are still those of the study: other files, networks, settings or versions give another one.
func (it *item) identity(e *node.Engine, c config.Config) (string, error) {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode([]any{version, e.Bundle.Digest, c.Analysis.Precision, c.Analysis.OperatingPoint, node.SelectionOptions(c.Analysis), c.Reporting}); err != nil {
		return "", err
	}
	for _, path := range it.paths {
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%q %d %d\n", commonPath(it.root, []string{path}), info.Size(), info.ModTime().UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// finished reads the finding of an earlier run, if it is complete and of this identity.
func finished(dir, identity string) (f finding.Finding, ok bool) {
	in, err := readInput(dir)
	if err != nil || in.Identity != identity {
		return f, false
	}
	b, err := os.ReadFile(filepath.Join(dir, "finding.json"))
	return f, err == nil && json.Unmarshal(b, &f) == nil
}

func readInput(dir string) (in input, err error) {
	b, err := os.ReadFile(filepath.Join(dir, inputFile))
	if err != nil {
		return in, err
	}
	return in, json.Unmarshal(b, &in)
}

// columns are those of findings.csv; see line.
func columns() []string {
	return []string{"input", "study_instance_uid", "series_instance_uid", "status", "code", "reason", "slices", "cavity_ml", "total_ml", "low_ml", "high_ml",
		"IPH_ml", "IVH_ml", "SAH_ml", "SDH_ml", "EDH_ml", "lesions", "seconds", "warnings", "results"}
}

// line is the line of a study in findings.csv. Volumes are empty where they were not measured.
func (it *item) line(dir string, f finding.Finding, failure error) []string {
	out := map[string]string{"input": it.input, "study_instance_uid": it.study.UID, "results": it.results}
	switch {
	case failure != nil:
		out["status"], out["reason"] = "failed", oneLine(failure)
	default:
		out["status"], out["code"], out["reason"] = string(f.Status), f.Code, f.Reason
		out["study_instance_uid"], out["warnings"] = f.Study.StudyInstanceUID, strings.Join(f.Warnings, " ")
		if in, err := readInput(dir); err == nil {
			out["seconds"] = strconv.FormatFloat(in.Seconds, 'f', 1, 64)
		}
	}
	if failure == nil && f.Status == finding.Analyzed {
		ml := func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
		out["series_instance_uid"], out["slices"] = f.Series.SeriesInstanceUID, strconv.Itoa(f.Series.Slices)
		out["cavity_ml"], out["total_ml"], out["lesions"] = ml(f.CavityML), ml(f.Volumes.Total), strconv.Itoa(len(f.Lesions))
		if f.Range != nil {
			out["low_ml"], out["high_ml"] = ml(f.Range.Low.Total), ml(f.Range.High.Total)
		}
		for _, s := range f.Volumes.Shown() {
			out[s.String()+"_ml"] = ml(f.Volumes.Of(s)) // not of ICH, which is the total
		}
	}
	var values []string
	for _, name := range columns() {
		values = append(values, out[name])
	}
	return values
}
