// Package phantom holds synthetic heads with known bleeds: the sample studies that come with ichor, and a small analytic
// head made here for tests. Both can be written as the CT files a scanner would send.
package phantom

import (
	"archive/zip"
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"slices"
	"strings"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

//go:embed studies
var studies embed.FS // studies/README.md names the format

// Label values. The subtypes follow in the order of finding.Subtypes.
const (
	Outside = 0
	Cavity  = 1
)

// Info names a study and says what is in it.
type Info struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	TruthML     finding.Volumes `json:"truth_ml"`
	CavityML    float64         `json:"cavity_ml"`
}

// Study is one synthetic head.
type Study struct {
	Info
	Seed             int64        `json:"seed"`
	Rows             int          `json:"rows"`
	Columns          int          `json:"columns"`
	PixelSpacingMM   [2]float64   `json:"pixel_spacing_mm"` // between rows, between columns
	SliceThicknessMM float64      `json:"slice_thickness_mm"`
	Orientation      [6]float64   `json:"orientation"`
	PositionsMM      []volume.Vec `json:"positions_mm"` // ImagePositionPatient of each slice, feet to head
	AgeYears         int          `json:"age_years"`
	Sex              string       `json:"sex"`
	KVP              float64      `json:"kvp"`

	HU     []int16 `json:"-"` // slice-major
	Labels []uint8 `json:"-"` // Outside, Cavity, then 1 + finding.Subtype
}

// List names the studies that come with ichor, by name.
func List() ([]Info, error) {
	entries, err := studies.ReadDir("studies")
	if err != nil {
		return nil, err
	}
	var out []Info
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".zip")
		if !ok {
			continue
		}
		s, _, err := open(name)
		if err != nil {
			return nil, err
		}
		out = append(out, s.Info)
	}
	slices.SortFunc(out, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// Load reads one study that comes with ichor.
func Load(name string) (*Study, error) {
	s, z, err := open(name)
	if err != nil {
		return nil, err
	}
	n := s.Rows * s.Columns
	s.HU = make([]int16, 0, n*len(s.PositionsMM))
	s.Labels = make([]uint8, 0, n*len(s.PositionsMM))
	for k := range s.PositionsMM {
		ct, err := s.picture(z, fmt.Sprintf("ct/%03d.png", k))
		if err != nil {
			return nil, fmt.Errorf("sample %s: %w", name, err)
		}
		wide, ok := ct.(*image.Gray16)
		if !ok {
			return nil, fmt.Errorf("sample %s: ct/%03d.png is not 16-bit grey", name, k)
		}
		for i := range n {
			s.HU = append(s.HU, int16(int(wide.Pix[2*i])<<8+int(wide.Pix[2*i+1])-1024))
		}
		labels, err := s.picture(z, fmt.Sprintf("labels/%03d.png", k))
		if err != nil {
			return nil, fmt.Errorf("sample %s: %w", name, err)
		}
		narrow, ok := labels.(*image.Gray)
		if !ok {
			return nil, fmt.Errorf("sample %s: labels/%03d.png is not 8-bit grey", name, k)
		}
		s.Labels = append(s.Labels, narrow.Pix[:n]...)
	}
	return s, nil
}

func open(name string) (*Study, *zip.Reader, error) {
	raw, err := studies.ReadFile("studies/" + name + ".zip")
	if err != nil {
		return nil, nil, fmt.Errorf("no sample study is named %q; 'ichor sample --list' names them", name)
	}
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, nil, fmt.Errorf("sample %s: %w", name, err)
	}
	f, err := z.Open("study.json")
	if err != nil {
		return nil, nil, fmt.Errorf("sample %s: %w", name, err)
	}
	defer f.Close()
	s := &Study{}
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, nil, fmt.Errorf("sample %s: study.json: %w", name, err)
	}
	if s.Rows < 1 || s.Columns < 1 || len(s.PositionsMM) == 0 {
		return nil, nil, fmt.Errorf("sample %s: study.json: %d slices of %d x %d", name, len(s.PositionsMM), s.Rows, s.Columns)
	}
	return s, z, nil
}

func (s *Study) picture(z *zip.Reader, name string) (image.Image, error) {
	f, err := z.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if b := img.Bounds(); b.Dx() != s.Columns || b.Dy() != s.Rows {
		return nil, fmt.Errorf("%s has %d x %d pixels, not %d x %d", name, b.Dx(), b.Dy(), s.Columns, s.Rows)
	}
	return img, nil
}

// Grid is the geometry of the study as volume.Build finds it in its files.
func (s *Study) Grid() volume.Grid {
	g := volume.Grid{Rows: s.Rows, Columns: s.Columns, SpacingMM: s.PixelSpacingMM, Origins: s.PositionsMM,
		AlongRow:    volume.Vec{s.Orientation[0], s.Orientation[1], s.Orientation[2]},
		AlongColumn: volume.Vec{s.Orientation[3], s.Orientation[4], s.Orientation[5]}}
	g.SupportMM = volume.Support(g.Gaps(), s.SliceThicknessMM)
	return g
}

// Truth is the label volume that a perfect analysis finds, and the cavity.
func (s *Study) Truth() (labels, cavity *volume.Mask) {
	g := s.Grid()
	labels, cavity = volume.NewMask(&g), volume.NewMask(&g)
	for i, l := range s.Labels {
		if l >= Cavity {
			cavity.Voxels[i] = 1
		}
		if l > Cavity {
			labels.Voxels[i] = l - 1
		}
	}
	return labels, cavity
}
