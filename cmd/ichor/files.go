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

// dicomFile is one Part 10 file in a folder.
type dicomFile struct {
	path string
	dcm.Identifiers
	transferSyntax string
}

// Open opens the file for the analysis.
func (f dicomFile) Open() (pipeline.ObjectReader, error) { return openFile(f.path) }

// Name names the file in reasons and warnings.
func (f dicomFile) Name() string { return "file " + filepath.Base(f.path) }

// fileReader is an *os.File and its size.
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

// findDICOM reads the headers of all DICOM files below root. It skips and counts damaged files and files of other formats.
func findDICOM(ctx context.Context, root string) (files []dicomFile, others int, err error) {
	files, damaged, others, err := walkDICOM(ctx, root)
	return files, others + len(damaged), err
}

// walkDICOM is findDICOM, but returns the damaged files too: DICOM files whose header is truncated or invalid.
func walkDICOM(ctx context.Context, root string) (files, damaged []dicomFile, others int, err error) {
	bar := progress(-1, "reading headers")
	err = visitFiles(ctx, root, map[string]bool{}, func(path string) error {
		f, err := readHeader(path)
		switch {
		case errors.Is(err, dcm.ErrNotDICOM), errors.Is(err, errDirectory):
			others++
			return nil
		case errors.As(err, new(*fs.PathError)): // skipping an unreadable file could lose a slice
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

// visitFiles calls visit once for each file below path, in the order of names. It follows symbolic links; seen are the
// files and folders already visited.
func visitFiles(ctx context.Context, path string, seen map[string]bool, visit func(path string) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil || seen[real] {
		return err
	}
	seen[real] = true
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return err
	case info.Mode().IsRegular():
		return visit(path)
	case !info.IsDir():
		return nil
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		return err
	}
	for _, e := range entries {
		err := visitFiles(ctx, filepath.Join(path, e.Name()), seen, visit)
		if e.Type()&fs.ModeSymlink != 0 && errors.Is(err, fs.ErrNotExist) { // a broken link
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errDirectory: the file is the index of a disc (PS3.10 §8), not an object of a study.
var errDirectory = errors.New("DICOMDIR")

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
	if f.Meta.SOPClassUID == dcm.MediaStorageDirectoryStorage {
		return dicomFile{}, errDirectory
	}
	return dicomFile{path: path, transferSyntax: f.Meta.TransferSyntaxUID, Identifiers: dcm.Identifiers{
		StudyInstanceUID:  f.Data.String(dcm.StudyInstanceUID),
		SeriesInstanceUID: f.Data.String(dcm.SeriesInstanceUID),
		SOPClassUID:       f.Data.String(dcm.SOPClassUID),
		SOPInstanceUID:    f.Data.String(dcm.SOPInstanceUID),
		Modality:          f.Data.String(dcm.Modality),
	}}, nil
}
