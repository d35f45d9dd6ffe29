package config

import (
	"fmt"
	"image/color"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Reporting is what the result objects look like.
type Reporting struct {
	CavitySegment bool      `mapstructure:"cavity_segment" default:"false" doc:"The intracranial cavity is sent as a segmentation of its own, hemorrhage or not. It is no segment beside the subtypes: viewers were seen to lose segments where some overlap."`
	KeyObjects    bool      `mapstructure:"key_objects" default:"true" doc:"Where hemorrhage is found: a Key Object Selection that points at the slices to look at first."`
	OverlaySeries bool      `mapstructure:"overlay_series" default:"true" doc:"Where hemorrhage is found: a series to scroll through, slice by slice with the overlay burnt in, for viewers that do not show segmentations. About the size of the CT, at most 96 images."`
	Refusals      string    `mapstructure:"refusals" default:"ct" doc:"Which studies that are not analysed get a report that says why: ct (all but those that plainly hold no CT, as ultrasound sent along), all, or none. The finding is kept in any case."`
	Series        Series    `mapstructure:"series" doc:"Number and description of our series. {model} and {version} stand for those of the networks; RUO or 'research use only' must be in it."`
	Segments      []Segment `mapstructure:"segments" doc:"Label, codes and colour of segments, where they are to be others than the defaults. What is left out stays."`
}

// Series is how our series are listed.
type Series struct {
	SEGNumber          int    `mapstructure:"seg_number" default:"9001" doc:"Of the segmentation."`
	SEGDescription     string `mapstructure:"seg_description" default:"AI ICH SEG {model} {version} RUO" doc:"At most 64 characters."`
	SCNumber           int    `mapstructure:"sc_number" default:"9002" doc:"Of the summary page and the key slices."`
	SCDescription      string `mapstructure:"sc_description" default:"AI ICH SC {model} {version} RUO" doc:"At most 64 characters."`
	SRNumber           int    `mapstructure:"sr_number" default:"9003" doc:"Of the structured report."`
	SRDescription      string `mapstructure:"sr_description" default:"AI ICH SR {model} {version} RUO" doc:"At most 64 characters."`
	OverlayNumber      int    `mapstructure:"overlay_number" default:"9004" doc:"Of the series to scroll through."`
	OverlayDescription string `mapstructure:"overlay_description" default:"AI ICH overlay {model} {version} RUO" doc:"At most 64 characters."`
	KeyNumber          int    `mapstructure:"key_number" default:"9005" doc:"Of the note that points at the key slices."`
	KeyDescription     string `mapstructure:"key_description" default:"AI ICH KEY {model} {version} RUO" doc:"At most 64 characters."`
	CavityNumber       int    `mapstructure:"cavity_number" default:"9007" doc:"Of the segmentation of the intracranial cavity."`
	CavityDescription  string `mapstructure:"cavity_description" default:"AI ICH CAVITY {model} {version} RUO" doc:"At most 64 characters."`
	NoteNumber         int    `mapstructure:"rejection_number" default:"9006" doc:"Of the note that names objects which a newer result replaced."`
	NoteDescription    string `mapstructure:"rejection_description" default:"AI ICH REJECTION {model} {version} RUO" doc:"At most 64 characters."`
}

// Segment is how one kind of segment appears.
type Segment struct {
	Subtype       string `mapstructure:"subtype" sample:"IVH" doc:"IPH, IVH, SAH, SDH, EDH, ICH (of networks that tell no subtype) or cavity."`
	Label         string `mapstructure:"label" sample:"Intraventricular hemorrhage" doc:"At most 64 characters."`
	CodeValue     string `mapstructure:"code_value" sample:"\"50960005\"" doc:"Code of what it is, in quotes; default: SNOMED CT 50960005, Hemorrhage, for all. Finer codes are for a terminologist of the site to choose."`
	CodeScheme    string `mapstructure:"code_scheme" sample:"SCT" doc:"Coding scheme designator."`
	CodeMeaning   string `mapstructure:"code_meaning" sample:"Hemorrhage" doc:"At most 64 characters."`
	RegionValue   string `mapstructure:"region_value" sample:"\"35764002\"" doc:"Code of the anatomic region, in quotes."`
	RegionScheme  string `mapstructure:"region_scheme" sample:"SCT" doc:"Coding scheme designator."`
	RegionMeaning string `mapstructure:"region_meaning" sample:"Brain ventricle" doc:"At most 64 characters."`
	Color         string `mapstructure:"color" sample:"\"#56B4E9\"" doc:"Red, green and blue, in quotes: in the segmentation and on the pages."`
}

// Values of Reporting.Refusals.
const (
	RefusalsCT   = "ct"
	RefusalsAll  = "all"
	RefusalsNone = "none"
)

// subtypes are the kinds of segments.
func subtypes() []string { return []string{"IPH", "IVH", "SAH", "SDH", "EDH", "ICH", "cavity"} }

func (r *Reporting) validate() error {
	if !slices.Contains([]string{RefusalsCT, RefusalsAll, RefusalsNone}, r.Refusals) {
		return fmt.Errorf("reporting.refusals %q: write ct, all or none", r.Refusals)
	}
	numbers := map[int]string{}
	for _, s := range []struct {
		key, description string
		number           int
	}{
		{"seg", r.Series.SEGDescription, r.Series.SEGNumber}, {"sc", r.Series.SCDescription, r.Series.SCNumber},
		{"sr", r.Series.SRDescription, r.Series.SRNumber}, {"overlay", r.Series.OverlayDescription, r.Series.OverlayNumber},
		{"key", r.Series.KeyDescription, r.Series.KeyNumber}, {"rejection", r.Series.NoteDescription, r.Series.NoteNumber},
		{"cavity", r.Series.CavityDescription, r.Series.CavityNumber},
	} {
		key := "reporting.series." + s.key
		if s.number < 1 || s.number > 99999999 {
			return fmt.Errorf("%s_number %d: write 1 to 99999999", key, s.number)
		}
		if other := numbers[s.number]; other != "" {
			return fmt.Errorf("%s_number %d: %s_number is the same; give each series one of its own", key, s.number, other)
		}
		numbers[s.number] = key
		if err := words(key+"_description", s.description, 64); err != nil {
			return err
		}
		if left := strings.NewReplacer("{model}", "", "{version}", "").Replace(s.description); strings.ContainsAny(left, "{}") {
			return fmt.Errorf("%s_description %q: of words in braces there are {model} and {version}", key, s.description)
		}
		if low := strings.ToLower(s.description); !strings.Contains(low, "ruo") && !strings.Contains(low, "research use only") {
			return fmt.Errorf("%s_description %q: RUO or 'research use only' must be in it", key, s.description)
		}
	}
	seen := map[string]bool{}
	for i := range r.Segments {
		s := &r.Segments[i]
		if err := s.validate(fmt.Sprintf("reporting.segments[%d]", i)); err != nil {
			return err
		}
		if seen[s.Subtype] {
			return fmt.Errorf("reporting.segments[%d].subtype %s: it is there twice", i, s.Subtype)
		}
		seen[s.Subtype] = true
	}
	return nil
}

func (s *Segment) validate(key string) error {
	if !slices.Contains(subtypes(), s.Subtype) {
		return fmt.Errorf("%s.subtype %q: write one of %s", key, s.Subtype, strings.Join(subtypes(), ", "))
	}
	if s.Label != "" {
		if err := words(key+".label", s.Label, 64); err != nil {
			return err
		}
	}
	for _, c := range []struct{ key, value, scheme, meaning string }{
		{key + ".code", s.CodeValue, s.CodeScheme, s.CodeMeaning}, {key + ".region", s.RegionValue, s.RegionScheme, s.RegionMeaning},
	} {
		if c.value == "" && c.scheme == "" && c.meaning == "" {
			continue
		}
		for _, part := range []struct { // PS3.3 Table 8.8-1
			key, text string
			most      int
		}{{"_value", c.value, 16}, {"_scheme", c.scheme, 16}, {"_meaning", c.meaning, 64}} {
			if err := words(c.key+part.key, part.text, part.most); err != nil {
				return fmt.Errorf("%w; a code is value, scheme and meaning", err)
			}
		}
	}
	if _, ok := s.RGB(); !ok && s.Color != "" {
		return fmt.Errorf("%s.color %q: write red, green and blue in hexadecimal, such as \"#56B4E9\"", key, s.Color)
	}
	return nil
}

// RGB is the colour; ok is false where there is none.
func (s *Segment) RGB() (c color.RGBA, ok bool) {
	digits, found := strings.CutPrefix(s.Color, "#")
	v, err := strconv.ParseUint(digits, 16, 24)
	if !found || len(digits) != 6 || err != nil {
		return color.RGBA{}, false
	}
	return color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255}, true
}

// words checks what PS3.5 §6.2 asks of LO and SH: one line without backslash, neither empty nor too long.
func words(key, text string, most int) error {
	n := utf8.RuneCountInString(text)
	bad := func(r rune) bool { return r == '\\' || r == utf8.RuneError || unicode.IsControl(r) }
	if n < 1 || n > most || strings.TrimSpace(text) != text || strings.ContainsFunc(text, bad) {
		return fmt.Errorf("%s %q: write 1 to %d characters, without a backslash and without spaces at the ends", key, text, most)
	}
	return nil
}
