package phantom

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/scp/dcm"
)

// Expected is the expected outcome of the analysis of a sample.
type Expected struct {
	Status finding.Status `json:"status"`
	Code   string         `json:"code,omitempty"` // of the refusal
}

func (e Expected) String() string {
	if e.Status == finding.Refused {
		return "refused: " + e.Code
	}
	return string(e.Status)
}

// Truth is the contents of truth.json of a sample.
type Truth struct {
	synthetic.Truth
	Expected Expected `json:"expected"`
}

// Sample is one study of the set that shows what reaches a node: the stored heads, and what is made of them when it is
// written. Its truth names the series that is to be chosen.
type Sample struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Expected    Expected `json:"expected"`

	make  func(*writing) error
	heads *heads
}

// heads are the stored heads that a list of samples is made of. Each is decoded once; nothing changes it afterwards.
type heads struct {
	mu     sync.Mutex
	loaded map[string]*synthetic.Study
}

func (h *heads) load(name string) (*synthetic.Study, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.loaded[name]; s != nil {
		return s, nil
	}
	s, err := Load(name)
	if err == nil {
		h.loaded[name] = s
	}
	return s, err
}

// file is one file of a sample.
type file struct {
	name string
	data *dcm.DataSet
	cut  bool // in the middle
}

// writing collects the files of one sample. All its series belong to one study.
type writing struct {
	*heads
	options synthetic.WriteOptions
	files   []file
	truth   synthetic.Truth
}

// Samples lists the whole set by name.
func Samples() ([]Sample, error) {
	infos, err := List()
	if err != nil {
		return nil, err
	}
	var out []Sample
	for _, i := range infos {
		out = append(out, analyzed(i.Name, i.Description, func(w *writing) error {
			s, err := w.load(i.Name)
			if err != nil {
				return err
			}
			w.series(s, nil)
			return nil
		}))
	}
	out = append(out, whole()...)
	out = append(out, refused()...)
	shared := &heads{loaded: map[string]*synthetic.Study{}}
	for i := range out {
		out[i].heads = shared
	}
	slices.SortFunc(out, func(a, b Sample) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// FindSample returns the sample with this name.
func FindSample(name string) (Sample, error) {
	all, err := Samples()
	if err != nil {
		return Sample{}, err
	}
	i := slices.IndexFunc(all, func(s Sample) bool { return s.Name == name })
	if i < 0 {
		return Sample{}, fmt.Errorf("there is no sample study %q; 'ichor sample --list' lists them", name)
	}
	return all[i], nil
}

// Write writes the files of the sample and truth.json to dir, which it makes if it is missing, and returns their
// number. All UIDs are fresh; it ignores o.Edit.
func (s Sample) Write(dir string, o synthetic.WriteOptions) (files int, err error) {
	o.StudyInstanceUID = cmp.Or(o.StudyInstanceUID, dcm.RandomUID())
	if o.Time.IsZero() {
		o.Time = time.Now()
	}
	w := &writing{heads: s.heads, options: o}
	if err := s.make(w); err != nil {
		return 0, fmt.Errorf("sample %s: %w", s.Name, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	for _, f := range w.files {
		if err := f.write(dir); err != nil {
			return 0, err
		}
	}
	w.truth.Name, w.truth.Description = s.Name, s.Description
	if s.Expected.Status == finding.Refused {
		w.truth.SeriesInstanceUID = ""
	}
	return len(w.files), synthetic.WriteTruth(dir, Truth{w.truth, s.Expected})
}

func (f file) write(dir string) error {
	path := filepath.Join(dir, f.name)
	if err := synthetic.WriteFile(path, f.data); err != nil || !f.cut {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, info.Size()/2)
}

// add adds files of one series.
func (w *writing) add(data ...*dcm.DataSet) {
	for _, d := range data {
		w.files = append(w.files, file{name: fmt.Sprintf("CT%04d.dcm", len(w.files)+1), data: d})
	}
}

// series adds s as a series of single images; edit may change each of them. The first series that is added is the one whose
// truth is kept.
func (w *writing) series(s *synthetic.Study, edit func(k int, d *dcm.DataSet)) []*dcm.DataSet {
	number := fmt.Sprint(len(w.files) + 2)
	o := w.options
	o.Edit = func(k int, d *dcm.DataSet) {
		d.SetStrings(dcm.SeriesNumber, "IS", number)
		if edit != nil {
			edit(k, d)
		}
	}
	data, truth := s.DataSets(o)
	if len(w.files) == 0 {
		w.truth = truth
	}
	w.add(data...)
	return data
}

func analyzed(name, description string, make func(*writing) error) Sample {
	return Sample{Name: name, Description: description, Expected: Expected{Status: finding.Analyzed}, make: make}
}

// from makes a sample of a stored head.
func from(stored string, change func(*synthetic.Study) *synthetic.Study, edit func(k int, d *dcm.DataSet)) func(*writing) error {
	return func(w *writing) error {
		s, err := w.load(stored)
		if err != nil {
			return err
		}
		w.series(change(s), edit)
		return nil
	}
}

func text(t dcm.Tag, vr dcm.VR, values ...string) func(int, *dcm.DataSet) {
	return func(_ int, d *dcm.DataSet) { d.SetStrings(t, vr, values...) }
}
