package config

import (
	"reflect"
	"slices"
)

// Changed returns the paths of the keys whose values differ between two
// configurations, sorted.
func Changed(a, b Config) []string {
	before, after := values(a), values(b)
	var paths []string
	for path, value := range before {
		if other, ok := after[path]; !ok || !reflect.DeepEqual(value, other) {
			paths = append(paths, path)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// values returns what every key is set to. An empty list is the same whether it
// was written or left out.
func values(c Config) map[string]any {
	all := map[string]any{}
	walk(reflect.ValueOf(c), "", func(path string, v reflect.Value) {
		if v.Kind() == reflect.Slice && v.Len() == 0 {
			all[path] = nil
			return
		}
		all[path] = v.Interface()
	})
	return all
}
