package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"ichor/pipeline"
	"ichor/scp/dcm"
)

// dicomFile is one Part 10 file in a folder.
type dicomFile struct {
	path string
	dcm.Identifiers
	transferSyntax string
	damage         error // why its header cannot be read; identifiers are those before the damage
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

// found is what lies below a folder.
type found struct {
	files   []dicomFile
	damaged []dicomFile // DICOM files whose header is truncated or invalid, and files named as those beside them that are not DICOM
	scans   []niftiFile
	others  int // files of other formats
}

// findDICOM reads the headers of all DICOM files below root. It skips and counts damaged files and files of other formats.
func findDICOM(ctx context.Context, root string) (files []dicomFile, others int, err error) {
	f, err := find(ctx, root, findOptions{})
	return f.files, f.others + len(f.damaged) + len(f.scans), err
}

// findOptions say what find passes over.
type findOptions struct {
	without string // a folder; "" for none
	// tolerant: files and folders that cannot be opened count as damaged files. Otherwise they are an error, because skipping a
	// file could lose a slice.
	tolerant bool
}

// find reads the headers of all DICOM files below root, and lists NIfTI files.
func find(ctx context.Context, root string, o findOptions) (out found, err error) {
	seen := map[string]bool{}
	if real, err := filepath.EvalSymlinks(o.without); err == nil && o.without != "" {
		seen[real] = true
	}
	var foreign []dicomFile // of other formats
	bar := progress(-1, "reading headers")
	err = visitFiles(ctx, root, seen, func(path string, err error) error {
		var f dicomFile
		switch {
		case err == nil && isNIfTI(path):
			out.scans = append(out.scans, niftiFile(path))
			return nil
		case err == nil:
			f, err = readHeader(path)
		}
		switch {
		case errors.Is(err, dcm.ErrNotDICOM):
			foreign = append(foreign, dicomFile{path: path, damage: err})
			return nil
		case errors.Is(err, errDirectory):
			out.others++
			return nil
		case errors.As(err, new(*fs.PathError)) && !o.tolerant:
			return err
		case err != nil:
			out.damaged = append(out.damaged, dicomFile{path: path, Identifiers: f.Identifiers, damage: err})
			return nil
		}
		out.files = append(out.files, f)
		return bar.Add(1)
	})
	if _, gone := os.Lstat(root); errors.Is(gone, fs.ErrNotExist) {
		return found{}, fmt.Errorf("there is no %s; name the folder that holds the study", root)
	}
	if err != nil {
		return found{}, fmt.Errorf("reading %s: %w", root, err)
	}
	images := map[string]bool{}
	for _, f := range out.files {
		images[pattern(f.path)] = true
	}
	for _, f := range foreign {
		if images[pattern(f.path)] {
			out.damaged = append(out.damaged, f)
			continue
		}
		out.others++
	}
	return out, bar.Finish()
}

var number = regexp.MustCompile(`[0-9]+`)

// pattern is what the paths of the images of a folder have in common: the extension of DICOM files, or the name without its numbers.
// A file of another format that has it too, such as an empty file or an error page, is an image that was lost.
func pattern(path string) string {
	dir, name := filepath.Split(path)
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".dcm", ".dicom", ".ima":
		return dir + ext
	}
	return dir + number.ReplaceAllString(strings.ToLower(name), "0")
}

// niftiFile is the path of a NIfTI file.
type niftiFile string

// isNIfTI tells by the name. Files that begin with "._" hold what macOS keeps beside a file of that name.
func isNIfTI(path string) bool {
	name := strings.ToLower(filepath.Base(path))
	return !strings.HasPrefix(name, "._") && (strings.HasSuffix(name, ".nii") || strings.HasSuffix(name, ".nii.gz"))
}

// Open opens the file for the analysis.
func (f niftiFile) Open() (pipeline.ObjectReader, error) { return openFile(string(f)) }

// Name names the file in reasons and warnings.
func (f niftiFile) Name() string { return "file " + filepath.Base(string(f)) }

// visitFiles calls visit once for each file below path, in the order of names, and with an error for a file or folder that cannot
// be opened. It follows symbolic links, and skips broken ones; seen are the files and folders already visited.
func visitFiles(ctx context.Context, path string, seen map[string]bool, visit func(path string, err error) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil:
		return visit(path, &fs.PathError{Op: "open", Path: path, Err: err})
	case seen[real]:
		return nil
	}
	seen[real] = true
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return visit(path, err)
	case info.Mode().IsRegular():
		return visit(path, nil)
	case !info.IsDir():
		return nil
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		return visit(path, err)
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
		return dicomFile{Identifiers: dcm.Identify(r, r.Size(), dcm.Limits{})}, err
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

// studyFromFiles returns the one study below root, or the one with that UID. Damaged files count as part of it: the analysis
// counts them. A NIfTI file is a study where there is no DICOM file.
func studyFromFiles(ctx context.Context, root, uid string) (pipeline.Study, error) {
	all, err := find(ctx, root, findOptions{})
	if err != nil {
		return pipeline.Study{}, err
	}
	if len(all.files) == 0 && len(all.damaged) == 0 {
		switch n := len(all.scans); {
		case n == 0:
			return pipeline.Study{}, fmt.Errorf("no DICOM file and no NIfTI file below %s (%d other files); name the folder that holds the study", root, all.others)
		case n > 1:
			return pipeline.Study{}, fmt.Errorf("%d NIfTI files below %s; name one of them, or analyse all with 'ichor analyze --all'", n, root)
		}
		return pipeline.Study{NIfTI: all.scans[0], Complete: "files"}, nil
	}
	byStudy := map[string][]pipeline.Input{}
	for _, f := range all.files {
		byStudy[f.StudyInstanceUID] = append(byStudy[f.StudyInstanceUID], f)
	}
	switch {
	case uid == "" && len(byStudy) > 1:
		return pipeline.Study{}, fmt.Errorf("%d studies below %s; name the folder of one, or one with --study UID, or analyse all with 'ichor analyze --all': %s",
			len(byStudy), root, listed(byStudy))
	case uid == "" && len(all.files) > 0:
		uid = all.files[0].StudyInstanceUID
	case uid == "": // no file says it; the report that says so needs one
		uid = dcm.RandomUID()
	case uid != "" && byStudy[uid] == nil:
		return pipeline.Study{}, fmt.Errorf("no study %s below %s; there are %s", uid, root, listed(byStudy))
	}
	study := pipeline.Study{UID: uid, Objects: byStudy[uid], Complete: "files"}
	for _, f := range all.damaged {
		if other := byStudy[f.StudyInstanceUID]; other == nil || f.StudyInstanceUID == uid {
			study.Objects = append(study.Objects, f)
		}
	}
	return study, nil
}

// listed names studies, the ones with most files first, ten at most.
func listed(byStudy map[string][]pipeline.Input) string {
	var out []string
	for _, uid := range slices.SortedFunc(maps.Keys(byStudy), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(byStudy[b]), len(byStudy[a])), cmp.Compare(a, b))
	}) {
		if len(out) == 10 {
			out = append(out, "...")
			break
		}
		out = append(out, fmt.Sprintf("%s (files: %d)", uid, len(byStudy[uid])))
	}
	return strings.Join(out, ", ")
}

// removeFiles removes the files below dir that match the pattern; there may be none.
func removeFiles(dir, pattern string) error {
	names, err := fs.Glob(os.DirFS(dir), pattern)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
