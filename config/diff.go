package config

import "reflect"

// Diff lists the dotted keys whose values differ, in the order of the example file. A list counts as one value.
func Diff(a, b Config) []string { return diff("", reflect.ValueOf(a), reflect.ValueOf(b)) }

func diff(prefix string, a, b reflect.Value) (keys []string) {
	for i := range a.NumField() {
		key := a.Type().Field(i).Tag.Get("mapstructure")
		switch x, y := a.Field(i), b.Field(i); {
		case key == "-":
		case x.Kind() == reflect.Struct:
			keys = append(keys, diff(prefix+key+".", x, y)...)
		case !same(x, y):
			keys = append(keys, prefix+key)
		}
	}
	return keys
}

// same compares two values. A list that is missing is an empty one.
func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
