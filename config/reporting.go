package config

import (
	"cmp"
	"errors"
	"fmt"
	"image/color"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Reporting is what the result objects look like.
type Reporting struct {
	CavitySegment bool      `mapstructure:"cavity_segment" default:"false" doc:"Also send the intracranial cavity, as a separate segmentation object, whether or not hemorrhage is found. It is separate because some viewers lose segments when segments overlap."`
	KeyObjects    bool      `mapstructure:"key_objects" default:"true" doc:"If hemorrhage is found, send a Key Object Selection that points to the slices to look at first."`
	OverlaySeries bool      `mapstructure:"overlay_series" default:"true" doc:"If hemorrhage is found, send a series with the overlay burnt into each slice, for viewers that do not show segmentations. It is about as large as the CT, at most 96 images."`
	Refusals      string    `mapstructure:"refusals" default:"ct" doc:"Which refused studies get a report with the reason: ct (all that may contain a CT; not an ultrasound study, for example), all, or none. The finding itself is always kept."`
	Series        []Series  `mapstructure:"series" doc:"Numbers and descriptions of our series, if they should differ from the defaults. Omitted fields keep their default."`
	Segments      []Segment `mapstructure:"segments" doc:"Labels, codes and colours of segments, if they should differ from the defaults. Omitted fields keep their default."`
}

// Series is how one of our series is listed.
type Series struct {
	Object      string `mapstructure:"object" sample:"SEG" doc:"SEG 9001, SC 9002 (summary page and key slices), SR 9003, overlay 9004, KEY 9005 (key object note), REJECTION 9006 (rejection note) or CAVITY 9007, with the default number."`
	Number      int    `mapstructure:"number" sample:"9001" doc:"Series Number."`
	Description string `mapstructure:"description" sample:"AI ICH SEG {model} {version} RUO" doc:"At most 64 characters. {model} and {version} are replaced by those of the bundle. RUO or 'research use only' is required."`
}

// Segment is how one kind of segment appears.
type Segment struct {
	Subtype       string `mapstructure:"subtype" sample:"IVH" doc:"IPH, IVH, SAH, SDH, EDH, ICH (for networks without subtypes) or cavity."`
	Label         string `mapstructure:"label" sample:"Intraventricular hemorrhage" doc:"At most 64 characters."`
	CodeValue     string `mapstructure:"code_value" sample:"\"50960005\"" doc:"Code of the finding, in quotes. Default for all: SNOMED CT 50960005, Hemorrhage. A more specific code is for your terminologist to choose."`
	CodeScheme    string `mapstructure:"code_scheme" sample:"SCT" doc:"Coding scheme designator."`
	CodeMeaning   string `mapstructure:"code_meaning" sample:"Hemorrhage" doc:"At most 64 characters."`
	RegionValue   string `mapstructure:"region_value" sample:"\"35764002\"" doc:"Code of the anatomic region, in quotes."`
	RegionScheme  string `mapstructure:"region_scheme" sample:"SCT" doc:"Coding scheme designator."`
	RegionMeaning string `mapstructure:"region_meaning" sample:"Brain ventricle" doc:"At most 64 characters."`
	Color         string `mapstructure:"color" sample:"\"#56B4E9\"" doc:"Red, green and blue in hexadecimal, in quotes; used in the segmentation and on the pages."`
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
	var errs []error
	if !slices.Contains([]string{RefusalsCT, RefusalsAll, RefusalsNone}, r.Refusals) {
		errs = append(errs, fmt.Errorf("reporting.refusals %q: write ct, all or none", r.Refusals))
	}
	errs = append(errs, r.validateSeries())
	seen := map[string]bool{}
	for i := range r.Segments {
		s := &r.Segments[i]
		errs = append(errs, s.validate(fmt.Sprintf("reporting.segments[%d]", i)))
		if seen[s.Subtype] {
			errs = append(errs, fmt.Errorf("reporting.segments[%d].subtype %s: listed twice", i, s.Subtype))
		}
		seen[s.Subtype] = true
	}
	return errors.Join(errs...)
}

// seriesNumbers are the default series numbers. reporting/iod has the same table, and a test compares the two.
func seriesNumbers() map[string]int {
	return map[string]int{"SEG": 9001, "SC": 9002, "SR": 9003, "overlay": 9004, "KEY": 9005, "REJECTION": 9006, "CAVITY": 9007}
}

// validateSeries checks each entry, and that no two series have the same number, defaults included.
func (r *Reporting) validateSeries() error {
	numbers, listed := seriesNumbers(), map[string]bool{}
	for i, s := range r.Series {
		key := fmt.Sprintf("reporting.series[%d]", i)
		if _, ok := numbers[s.Object]; !ok || listed[s.Object] {
			return fmt.Errorf("%s.object %q: write SEG, SC, SR, overlay, KEY, REJECTION or CAVITY, each at most once", key, s.Object)
		}
		listed[s.Object] = true
		if s.Number < 0 || s.Number > 99999999 {
			return fmt.Errorf("%s.number %d: write 1 to 99999999", key, s.Number)
		}
		numbers[s.Object] = cmp.Or(s.Number, numbers[s.Object])
		if s.Description == "" {
			continue
		}
		if err := words(key+".description", s.Description, 64); err != nil {
			return err
		}
		if left := strings.NewReplacer("{model}", "", "{version}", "").Replace(s.Description); strings.ContainsAny(left, "{}") {
			return fmt.Errorf("%s.description %q: the only words in braces are {model} and {version}", key, s.Description)
		}
		if low := strings.ToLower(s.Description); !strings.Contains(low, "ruo") && !strings.Contains(low, "research use only") {
			return fmt.Errorf("%s.description %q: must contain RUO or 'research use only'", key, s.Description)
		}
	}
	users := map[int]string{}
	for _, object := range slices.Sorted(maps.Keys(numbers)) {
		n := numbers[object]
		if users[n] != "" {
			return fmt.Errorf("reporting.series: %s and %s both have number %d; give each series its own", users[n], object, n)
		}
		users[n] = object
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

// RGB is the colour. ok is false if none is set.
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
