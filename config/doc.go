package config

import (
	"reflect"
	"strings"
)

// Doc returns the first sentence of the description of a setting, by its dotted key, without the full stop. It is empty for a
// key that does not exist.
func Doc(key string) string {
	t, doc := reflect.TypeFor[Config](), ""
	for part := range strings.SplitSeq(key, ".") {
		if t.Kind() != reflect.Struct {
			return ""
		}
		found := false
		for f := range fields(t) {
			if f.Tag.Get("mapstructure") == part {
				t, doc, found = f.Type, f.Tag.Get("doc"), true
				break
			}
		}
		if !found {
			return ""
		}
	}
	first, _, _ := strings.Cut(doc, ". ")
	return strings.TrimSuffix(first, ".")
}
