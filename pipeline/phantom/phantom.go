// Package phantom has the sample studies shipped with ichor: three stored heads with known bleeds, and samples made from them and
// from rendered bodies, each with the expected outcome of its analysis. Package synthetic renders, changes and writes them.
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

	"ichor/pipeline/phantom/synthetic"
)

//go:embed studies
var studies embed.FS // studies/README.md describes the format

// List returns the studies shipped with ichor, sorted by name.
func List() ([]synthetic.Info, error) {
	entries, err := studies.ReadDir("studies")
	if err != nil {
		return nil, err
	}
	var out []synthetic.Info
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
	slices.SortFunc(out, func(a, b synthetic.Info) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// Load reads one study shipped with ichor.
func Load(name string) (*synthetic.Study, error) {
	s, z, err := open(name)
	if err != nil {
		return nil, err
	}
	n := s.Rows * s.Columns
	s.HU = make([]int16, 0, n*len(s.PositionsMM))
	s.Labels = make([]uint8, 0, n*len(s.PositionsMM))
	for k := range s.PositionsMM {
		ct, err := picture(s, z, fmt.Sprintf("ct/%03d.png", k))
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
		labels, err := picture(s, z, fmt.Sprintf("labels/%03d.png", k))
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

func open(name string) (*synthetic.Study, *zip.Reader, error) {
	raw, err := studies.ReadFile("studies/" + name + ".zip")
	if err != nil {
		return nil, nil, fmt.Errorf("there is no sample study %q; 'ichor sample --list' lists them", name)
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
	s := &synthetic.Study{}
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

func picture(s *synthetic.Study, z *zip.Reader, name string) (image.Image, error) {
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
