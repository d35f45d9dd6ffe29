package config

import (
	"fmt"
	"iter"
	"reflect"
	"strings"
)

// Example returns a commented file with every key at its default, generated from the tags of Config. For each list it
// shows one entry, commented out.
func Example() string {
	var b strings.Builder
	b.WriteString("# ichor: every setting with its default. Environment: ICHOR_ and the key in capitals, dots as\n" +
		"# underscores: ICHOR_DICOM_LISTEN. A node needs at least 700 MB of memory. Research use only. Not for clinical use.\n")
	example(&b, reflect.TypeFor[Config](), "", "")
	return b.String()
}

func example(b *strings.Builder, t reflect.Type, indent, comment string) {
	for f := range fields(t) {
		key, doc := f.Tag.Get("mapstructure"), f.Tag.Get("doc")
		if indent == "" {
			b.WriteString("\n")
		}
		for line := range wrap(doc, 118-len(indent)) {
			fmt.Fprintf(b, "%s# %s\n", indent, line)
		}
		switch {
		case f.Type.Kind() == reflect.Struct:
			fmt.Fprintf(b, "%s%s:\n", indent, key)
			example(b, f.Type, indent+"  ", comment)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			fmt.Fprintf(b, "%s%s: []\n", indent, key)
			sep := "- "
			for e := range fields(f.Type.Elem()) {
				for line := range wrap(e.Tag.Get("doc"), 115-len(indent)) {
					fmt.Fprintf(b, "%s#%s# %s\n", indent, sep, line)
					sep = "  "
				}
				fmt.Fprintf(b, "%s#  %s: %s\n", indent, e.Tag.Get("mapstructure"), e.Tag.Get("sample"))
			}
		default:
			fmt.Fprintf(b, "%s%s: %s\n", indent, key, yamlValue(f.Tag.Get("default")))
		}
	}
}

// wrap breaks text into lines of at most width bytes, at spaces.
func wrap(text string, width int) iter.Seq[string] {
	return func(yield func(string) bool) {
		line := ""
		for word := range strings.FieldsSeq(text) {
			if line != "" && len(line)+1+len(word) > width {
				if !yield(line) {
					return
				}
				line = ""
			}
			line = strings.TrimSpace(line + " " + word)
		}
		yield(line)
	}
}

func yamlValue(s string) string {
	if s == "" {
		return `""`
	}
	return s
}

func fields(t reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if f := t.Field(i); f.Tag.Get("mapstructure") != "-" && !yield(f) {
				return
			}
		}
	}
}
