package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/pipeline"
	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/reporting"
)

// maskFile has the labels of a NIfTI file on its own voxels.
const maskFile = "mask.nii.gz"

// analyzeStudy analyses one study and writes its results below out: DICOM objects for DICOM, a mask for NIfTI; the finding and
// the summary page for both.
func analyzeStudy(ctx context.Context, e *node.Engine, c config.Config, study pipeline.Study, out string) (f finding.Finding, err error) {
	result, err := e.Analyzer.Analyze(ctx, study)
	if err != nil {
		return f, err
	}
	if err := clearResults(out); err != nil {
		return f, err
	}
	f = result.Finding
	if study.NIfTI == nil || f.Status == finding.Analyzed {
		report, err := reporting.New(*result, node.ReportingOptions(c, version))
		if err != nil {
			return f, err
		}
		f = report.Finding()
		if study.NIfTI == nil {
			err = writeObjects(ctx, out, report)
		} else {
			err = writeMask(filepath.Join(out, maskFile), result)
		}
		if err == nil && f.Status == finding.Analyzed {
			err = writeFile(filepath.Join(out, "overlay.png"), func(w io.Writer) error { return report.WritePNG(ctx, w) })
		}
		if err != nil {
			return f, err
		}
	}
	return f, writeFile(filepath.Join(out, "finding.json"), func(w io.Writer) error { return printJSON(w, f) })
}

// clearResults makes the folder, and deletes the results of an earlier run in it: an old seg.dcm would look like a result of this
// study.
func clearResults(out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("results folder: %w; choose a writable folder with --out", err)
	}
	for _, name := range []string{"seg.dcm", "sc/*.dcm", "sr.dcm", "ko.dcm", "ko-labelmap.dcm", "seg-labelmap.dcm", "seg-cavity.dcm", "seg-cavity-labelmap.dcm", "sr-labelmap.dcm",
		"overlay/*.dcm", "overlay.png", maskFile, "finding.json", inputFile} {
		if err := removeFiles(out, name); err != nil {
			return err
		}
	}
	return nil
}

// writeObjects writes the DICOM objects of a study.
func writeObjects(ctx context.Context, out string, report *reporting.Report) error {
	objects, err := report.Write(ctx)
	if err != nil {
		return err
	}
	for _, object := range objects {
		path := filepath.Join(out, object.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, object.Bytes, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeMask writes the labels of a NIfTI file on its own voxels.
func writeMask(path string, a *analysis.Analysis) error {
	return writeFile(path, func(w io.Writer) error { return a.Scan.WriteMask(w, a.Volume, a.Labels) })
}

// writeFile creates a file and writes to it. An incomplete file is removed.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
