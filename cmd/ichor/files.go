package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ichor/pipeline"
	"ichor/scp/dcm"
)

// dicomFile is one Part 10 file of a folder.
type dicomFile struct {
	path string
	dcm.Identifiers
	transferSyntax string
}

// Open opens the file for the analysis.
func (f dicomFile) Open() (pipeline.ObjectReader, error) { return openFile(f.path) }

// fileReader is an *os.File with its size.
type fileReader struct {
	*os.File
	size int64
}

func (r fileReader) Size() int64 { return r.size }

func openFile(path string) (fileReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return fileReader{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return fileReader{}, errors.Join(err, f.Close())
	}
	return fileReader{f, info.Size()}, nil
}

// findDICOM reads the headers of all DICOM files below root; files that are none, and damaged ones, are counted and passed over.
func findDICOM(ctx context.Context, root string) (files []dicomFile, others int, err error) {
	files, damaged, others, err := walkDICOM(ctx, root)
	return files, others + len(damaged), err
}

// walkDICOM is findDICOM with the damaged files by themselves: DICOM files whose header ends too early or cannot be.
func walkDICOM(ctx context.Context, root string) (files, damaged []dicomFile, others int, err error) {
	bar := progress(-1, "reading headers")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() || !d.Type().IsRegular() && path != root:
			return nil
		}
		f, err := readHeader(path)
		switch {
		case errors.Is(err, dcm.ErrNotDICOM):
			others++
			return nil
		case errors.As(err, new(*fs.PathError)): // a slice that this user may not read would be missing
			return err
		case err != nil:
			damaged = append(damaged, dicomFile{path: path})
			return nil
		}
		files = append(files, f)
		return bar.Add(1)
	})
	if err != nil {
		return nil, nil, 0, fmt.Errorf("reading %s: %w", root, err)
	}
	return files, damaged, others, bar.Finish()
}

func readHeader(path string) (dicomFile, error) {
	r, err := openFile(path)
	if err != nil {
		return dicomFile{}, err
	}
	defer r.Close()
	f, err := dcm.Read(r, r.Size(), dcm.Limits{})
	if err != nil {
		return dicomFile{}, err
	}
	return dicomFile{path: path, transferSyntax: f.Meta.TransferSyntaxUID, Identifiers: dcm.Identifiers{
		StudyInstanceUID:  f.Data.String(dcm.StudyInstanceUID),
		SeriesInstanceUID: f.Data.String(dcm.SeriesInstanceUID),
		SOPClassUID:       f.Data.String(dcm.SOPClassUID),
		SOPInstanceUID:    f.Data.String(dcm.SOPInstanceUID),
		Modality:          f.Data.String(dcm.Modality),
	}}, nil
}
