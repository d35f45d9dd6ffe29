package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ichor/pipeline/finding"
	"ichor/pipeline/nifti"
)

// truthSet is how a public set stores the masks of its readers.
type truthSet struct {
	name   string
	key    func(path string) string // of the scan that a path belongs to; empty: no scan, and no mask
	isMask func(path string) bool
	labels map[int16]uint8 // value of a voxel to finding.Subtype; nil: every value but 0 is ICH
}

var (
	caseCQ500 = regexp.MustCompile(`^CQ500-CT-\d+$`)
	digits    = regexp.MustCompile(`^\d+$`)
)

// truthSets are tried in this order; the last takes any folder.
func truthSets() []truthSet {
	below := func(folder string) func(string) bool {
		return func(path string) bool { return filepath.Base(filepath.Dir(path)) == folder }
	}
	numbered := func(path string) string {
		if stem := stemOf(path); digits.MatchString(stem) {
			return cmp.Or(strings.TrimLeft(stem, "0"), "0")
		}
		return ""
	}
	bhsd := map[int16]uint8{1: uint8(finding.EDH), 2: uint8(finding.IPH), 3: uint8(finding.IVH), 4: uint8(finding.SAH), 5: uint8(finding.SDH)}
	return []truthSet{
		{"seg-cq500", func(path string) string {
			if dir := filepath.Base(filepath.Dir(path)); caseCQ500.MatchString(dir) {
				return dir
			}
			return ""
		}, func(path string) bool { return stemOf(path) == "ICH_mask" }, nil},
		{"hssayeni", numbered, below("masks"), nil},
		{"bhsd", stemOf, below("ground truths"), bhsd},
		{"instance", numbered, below("label"), nil},
		{"plain", func(path string) string { return strings.TrimSuffix(stemOf(path), "_0000") }, func(string) bool { return true }, nil},
	}
}

// stemOf is the name of a NIfTI file without its endings.
func stemOf(path string) string {
	return strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".gz"), ".nii")
}

// truths finds the masks of the readers below root: by key of the scan. name is one of truthSets, or empty: the one that fits.
func truths(root, name string) (truthSet, map[string]string, error) {
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && isNIfTI(path) && !strings.HasPrefix(d.Name(), ".") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return truthSet{}, nil, fmt.Errorf("truth: %w", err)
	}
	sets := truthSets()
	for _, s := range sets {
		if name != "" && s.name != name {
			continue
		}
		found := map[string]string{}
		for _, f := range files {
			key := s.key(f)
			if key == "" || !s.isMask(f) {
				continue
			}
			if old, ok := found[key]; ok && old != f {
				return s, nil, fmt.Errorf("%s and %s are both masks of %s; give the folder of one", old, f, key)
			}
			found[key] = f
		}
		if len(found) > 0 {
			return s, found, nil
		}
	}
	if name != "" && !slices.ContainsFunc(sets, func(s truthSet) bool { return s.name == name }) {
		return truthSet{}, nil, usageError("--set must be seg-cq500, hssayeni, bhsd, instance or plain")
	}
	return truthSet{}, nil, fmt.Errorf("no mask (.nii, .nii.gz) below %s%s", root, map[bool]string{true: " in the layout of " + name}[name != ""])
}

// withLabels reads "1=IPH,2=IVH" in the place of the set's own labels.
func (s *truthSet) withLabels(text string) error {
	if text == "" {
		return nil
	}
	s.labels = map[int16]uint8{}
	for part := range strings.SplitSeq(text, ",") {
		key, name, _ := strings.Cut(strings.TrimSpace(part), "=")
		value, err := strconv.ParseInt(key, 10, 16)
		var kind finding.Subtype
		if err == nil {
			err = kind.UnmarshalText([]byte(name))
		}
		if err != nil || value <= 0 {
			return usageError(fmt.Sprintf("--labels %q: write 1=IPH,2=IVH,...; ICH is blood of unknown subtype, none is no blood", part))
		}
		s.labels[int16(value)] = uint8(kind)
	}
	return nil
}

// label is the finding.Subtype of a value of a mask.
func (s *truthSet) label(value int16) uint8 {
	switch {
	case value <= 0:
		return 0
	case s.labels == nil:
		return uint8(finding.ICH)
	}
	return s.labels[value]
}

// readMask reads a NIfTI mask.
func readMask(path string) (_ *nifti.Image, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	img, err := nifti.Read(f, 1<<29)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return img, nil
}
