package config

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Error is everything that is wrong with a configuration.
type Error struct {
	Source string // the file, or where the settings come from
	Faults []Fault
}

// Fault is one wrong setting.
type Fault struct {
	Line int    `json:"line,omitempty"` // in the file; 0: not in a file
	Text string `json:"text"`           // names the key and says what to write instead
}

func (f Fault) String() string {
	if f.Line > 0 {
		return fmt.Sprintf("line %d: %s", f.Line, f.Text)
	}
	return f.Text
}

// Error is one line for one fault, and otherwise a line for each.
func (e *Error) Error() string {
	if len(e.Faults) == 1 {
		return fmt.Sprintf("configuration %s: %s", e.Source, e.Faults[0])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "configuration %s has %d faults:", e.Source, len(e.Faults))
	for _, f := range e.Faults {
		b.WriteString("\n  " + f.String())
	}
	return b.String()
}

// reading finds the faults of one file: keys that do not exist, and values of the wrong type. What is wrong is taken out of
// the document, so that the rest can be checked as well.
type reading struct {
	faults []Fault
	lines  map[string]int // line of each key, such as dicom.peers[0].ae_title
	partly map[string]bool
}

// readYAML returns the document without its faulty parts, and the reading that knows them.
func readYAML(text []byte) ([]byte, *reading) {
	r := &reading{lines: map[string]int{}, partly: map[string]bool{}}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		r.faults = append(r.faults, syntaxFault(text, err))
		return nil, r
	}
	if len(document.Content) == 0 { // an empty file
		return nil, r
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode && root.Tag != "!!null" {
		r.add(root, "write keys with values, such as 'retention: 168h', not a list or a single value")
		return nil, r
	}
	r.mapping("", root, reflect.TypeFor[Config]())
	clean, err := yaml.Marshal(&document)
	if err != nil {
		r.add(root, "%v", err)
	}
	return clean, r
}

// syntaxFault names the line of a text that is no YAML. A tab is the usual reason, and the parser does not say so.
func syntaxFault(text []byte, err error) Fault {
	for i, line := range strings.Split(string(text), "\n") {
		if indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]; strings.Contains(indent, "\t") {
			return Fault{i + 1, "the line is indented with a tab; YAML needs spaces"}
		}
	}
	said := strings.TrimPrefix(oneLine(err), "yaml: ")
	if rest, ok := strings.CutPrefix(said, "line "); ok {
		if number, what, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(number); err == nil {
				return Fault{n, "not YAML: " + what}
			}
		}
	}
	return Fault{0, "not YAML: " + said}
}

func (r *reading) add(n *yaml.Node, format string, args ...any) {
	r.faults = append(r.faults, Fault{n.Line, fmt.Sprintf(format, args...)})
}

// mapping checks the keys of one section. path ends in a dot, or is empty.
func (r *reading) mapping(path string, n *yaml.Node, t reflect.Type) {
	var kept []*yaml.Node
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := strings.ToLower(key.Value)
		f, known := fieldOf(t, name)
		switch {
		case key.Value == "<<": // a merge key of YAML
			kept = append(kept, key, value)
			continue
		case !known:
			r.add(key, "%s%s: there is no such key; %s", path, key.Value, suggestion(name, t))
			r.partly[path] = true
			continue
		case seen[name]:
			r.add(key, "%s%s is there twice; remove one", path, key.Value)
			continue
		}
		seen[name] = true
		r.lines[path+name] = key.Line
		if r.value(path+name, value, f.Type) {
			kept = append(kept, key, value)
		} else {
			r.partly[path] = true
		}
	}
	n.Content = kept
}

// value checks one value, and reports whether it can be used.
func (r *reading) value(path string, n *yaml.Node, t reflect.Type) bool {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	empty := n.Kind == yaml.ScalarNode && n.Tag == "!!null"
	structs := t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
	switch {
	case empty:
		return t.Kind() == reflect.Struct || t.Kind() == reflect.Slice || r.scalar(path, n, t)
	case path == "reporting.series" && n.Kind == yaml.MappingNode:
		r.add(n, "%s: %s", path, retiredSeries)
	case t.Kind() == reflect.Struct && n.Kind == yaml.MappingNode:
		r.mapping(path+".", n, t)
		return true
	case t.Kind() == reflect.Struct:
		r.add(n, "%s: write keys below it, each on its own line", path)
	case structs && n.Kind != yaml.SequenceNode:
		r.add(n, "%s: write a list; each entry begins with '- '", path)
	case structs:
		for i, e := range n.Content {
			entry := fmt.Sprintf("%s[%d]", path, i)
			r.lines[entry] = e.Line
			if e.Kind != yaml.MappingNode {
				r.add(e, "%s: write keys with values, such as {%s: %s}", entry, t.Elem().Field(0).Tag.Get("mapstructure"), t.Elem().Field(0).Tag.Get("sample"))
				return false
			}
			r.mapping(entry+".", e, t.Elem())
		}
		return true
	case t.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		good := true
		for _, e := range n.Content {
			good = r.scalar(path, e, t.Elem()) && good
		}
		return good
	case t.Kind() == reflect.Slice:
		return r.scalar(path, n, t.Elem())
	default:
		return r.scalar(path, n, t)
	}
	return false
}

func (r *reading) scalar(path string, n *yaml.Node, t reflect.Type) bool {
	if n.Kind != yaml.ScalarNode {
		r.add(n, "%s: write %s, not a list or a section", path, written(t))
		return false
	}
	if why := misread(n.Value, t); why != "" {
		r.add(n, "%s %q: write %s", path, n.Value, why)
		return false
	}
	return true
}

// written says how a value of type t is written.
func written(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a time with its unit, such as 30s or 24h"
	case t.Kind() == reflect.Int:
		return "a whole number"
	case t.Kind() == reflect.Bool:
		return "true or false"
	}
	return "a text"
}

// misread says how a value has to be written, empty if it can be read.
func misread(text string, t reflect.Type) string {
	var err error
	switch {
	case t == reflect.TypeFor[time.Duration]():
		if text != "0" {
			_, err = time.ParseDuration(text)
		}
	case t.Kind() == reflect.Int:
		_, err = strconv.Atoi(text)
	case t.Kind() == reflect.Bool:
		_, err = strconv.ParseBool(text)
	}
	if err != nil {
		return written(t)
	}
	return ""
}

func fieldOf(t reflect.Type, name string) (reflect.StructField, bool) {
	for f := range fields(t) {
		if f.Tag.Get("mapstructure") == name {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// suggestion names the key that was probably meant.
func suggestion(name string, t reflect.Type) string {
	var here []string
	for f := range fields(t) {
		here = append(here, f.Tag.Get("mapstructure"))
	}
	if near := nearest(name, here); near != "" {
		return "did you mean " + near + "?"
	}
	for _, k := range keys("", reflect.TypeFor[Config]()) {
		if k == name || strings.HasSuffix(k, "."+name) {
			return "did you mean " + k + "?"
		}
	}
	return "'ichor check --example' prints every key"
}

// keys lists every key outside lists, with dots.
func keys(prefix string, t reflect.Type) (all []string) {
	for f := range fields(t) {
		key := prefix + f.Tag.Get("mapstructure")
		all = append(all, key)
		if f.Type.Kind() == reflect.Struct {
			all = append(all, keys(key+".", f.Type)...)
		}
	}
	return all
}

// nearest returns the candidate with the fewest typing errors, empty if none is near.
func nearest(word string, candidates []string) string {
	if len(candidates) == 0 {
		return ""
	}
	best := slices.MinFunc(candidates, func(a, b string) int { return cmp.Compare(distance(word, a), distance(word, b)) })
	if distance(word, best) > max(1, min(len(word), len(best))/3) {
		return ""
	}
	return best
}

// distance counts the letters to insert, delete or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		above := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := above
			if a[i] != b[j] {
				replace++
			}
			above = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// ofTests are environment variables of the tests, which a developer may have set (docs/develop.md).
var ofTests = []string{"ICHOR_PYTHON", "ICHOR_VIEWER", "ICHOR_ONNXRUNTIME", "ICHOR_OPENVINO", "ICHOR_SIEGE", "ICHOR_KILLS", "ICHOR_DATA", "ICHOR_JOBS"}

// environmentFaults finds variables that set nothing, and values that cannot be read; unread has the keys of these values,
// with their defaults.
func environmentFaults() (faults []Fault, unread map[string]any) {
	known := variables()
	names := slices.Sorted(maps.Keys(known))
	unread = map[string]any{}
	for _, e := range slices.Sorted(slices.Values(os.Environ())) {
		name, value, _ := strings.Cut(e, "=")
		v, ok := known[name]
		switch {
		case !strings.HasPrefix(name, "ICHOR_"), slices.Contains(ofTests, name), strings.HasPrefix(name, "ICHOR_TEST_"):
		case strings.HasPrefix(name, "ICHOR_REPORTING_SERIES_"):
			faults = append(faults, Fault{0, fmt.Sprintf("environment variable %s: %s, in the configuration file", name, retiredSeries)})
		case !ok:
			advice := "'ichor check --example' says how variables are named"
			if near := nearest(name, names); near != "" {
				advice = "did you mean " + near + "?"
			}
			faults = append(faults, Fault{0, fmt.Sprintf("environment variable %s sets nothing; %s", name, advice)})
		case value != "" && misread(value, v.Type) != "":
			faults = append(faults, Fault{0, fmt.Sprintf("environment variable %s %q: write %s", name, value, misread(value, v.Type))})
			unread[v.key] = v.Tag.Get("default")
		}
	}
	return faults, unread
}

// setting is a key outside lists, with its field.
type setting struct {
	reflect.StructField
	key string
}

// variables returns the settings by the name of their environment variable. Lists have none.
func variables() map[string]setting {
	all := map[string]setting{}
	addVariables("", reflect.TypeFor[Config](), all)
	return all
}

func addVariables(prefix string, t reflect.Type, to map[string]setting) {
	for f := range fields(t) {
		key := prefix + f.Tag.Get("mapstructure")
		switch f.Type.Kind() {
		case reflect.Struct:
			addVariables(key+".", f.Type, to)
		case reflect.Slice:
		default:
			to["ICHOR_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))] = setting{f, key}
		}
	}
}

// locate gives faults of Validate the line of their key. It leaves out those of a section with a key that could not be read:
// they follow from that.
func (r *reading) locate(err error) (faults []Fault) {
	for _, e := range split(err) {
		text := e.Error()
		key := ""
		for path := range r.lines {
			if strings.HasPrefix(text, path) && len(path) > len(key) && !continues(text[len(path):]) {
				key = path
			}
		}
		named, _, _ := strings.Cut(text, " ")
		section := strings.TrimSuffix(named, ":")
		section = section[:strings.LastIndexByte(section, '.')+1]
		if section != "" && r.partly[section] {
			continue
		}
		line := r.lines[key]
		if name, set := fromEnvironment(text); set {
			line, text = 0, "environment variable "+name+": "+text
		}
		faults = append(faults, Fault{line, text})
	}
	return faults
}

// fromEnvironment returns the environment variable that sets the key at the beginning of a fault: it comes before the file.
func fromEnvironment(text string) (name string, set bool) {
	for n, v := range variables() {
		if strings.HasPrefix(text, v.key) && !continues(strings.TrimPrefix(text, v.key)) && os.Getenv(n) != "" {
			return n, true
		}
	}
	return "", false
}

// continues reports whether the text after a key is the rest of a longer word.
func continues(rest string) bool {
	return rest != "" && (rest[0] == '_' || rest[0] >= 'a' && rest[0] <= 'z')
}

// split returns the errors that were joined.
func split(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, split(e)...)
		}
		return all
	}
	return []error{err}
}

// Misread says how the value of a key outside lists has to be written, empty if text can be read.
func Misread(key, text string) string {
	for _, v := range variables() {
		if v.key == key {
			return misread(text, v.Type)
		}
	}
	return ""
}

// IsSetting reports whether an environment variable sets a key.
func IsSetting(name string) bool {
	_, ok := variables()[name]
	return ok
}
