package config

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

var (
	typeDuration = reflect.TypeFor[time.Duration]()
	typeSpace    = reflect.TypeFor[Space]()
	typeSecret   = reflect.TypeFor[Secret]()
)

// keysSection is the one section whose entries are named by the administrator.
const keysSection = "keys"

// idPlaceholder stands for a key id where paths are listed.
const idPlaceholder = "<id>"

// walk calls visit for every key of a struct, in order, with its dotted path.
// The entries of a map are visited in the order of their names.
func walk(v reflect.Value, prefix string, visit func(path string, v reflect.Value)) {
	for i := range v.NumField() {
		path := join(prefix, v.Type().Field(i).Tag.Get("yaml"))
		field := v.Field(i)
		switch {
		case field.Kind() == reflect.Map:
			walkMap(field, path, visit)
		case isSection(field.Type()):
			walk(field, path, visit)
		default:
			visit(path, field)
		}
	}
}

func walkMap(m reflect.Value, prefix string, visit func(path string, v reflect.Value)) {
	names := m.MapKeys()
	slices.SortFunc(names, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, name := range names {
		walk(m.MapIndex(name), join(prefix, name.String()), visit)
	}
}

// isSection reports whether values of type t hold keys rather than being one.
func isSection(t reflect.Type) bool { return t.Kind() == reflect.Struct && t != typeSpace }

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// Paths returns the dotted path of every key, in the order of the struct. The
// keys of a token key stand there once, as keys.<id>.secret and so on.
func Paths() []string {
	c := Default()
	c.Keys = map[string]Key{idPlaceholder: {}}
	var paths []string
	walk(reflect.ValueOf(c), "", func(path string, _ reflect.Value) { paths = append(paths, path) })
	return paths
}

// meant returns what somebody who wrote path may have meant: every key and
// section, with the key id of path if it has one.
func meant(path string) []string {
	id := idPlaceholder
	if rest, ok := strings.CutPrefix(path, keysSection+"."); ok {
		id, _, _ = strings.Cut(rest, ".")
	}
	var all []string
	for _, known := range Paths() {
		known = strings.Replace(known, idPlaceholder, id, 1)
		for i, r := range known {
			if r == '.' && !slices.Contains(all, known[:i]) {
				all = append(all, known[:i])
			}
		}
		all = append(all, known)
	}
	return all
}

// keyFields returns the names under keys.<id>.
func keyFields() []string {
	var names []string
	walk(reflect.ValueOf(Key{}), "", func(path string, _ reflect.Value) { names = append(names, path) })
	return names
}

// splitKeyPath splits "keys.ID.FIELD".
func splitKeyPath(path string) (id, field string, ok bool) {
	rest, ok := strings.CutPrefix(path, keysSection+".")
	dot := strings.LastIndexByte(rest, '.')
	if !ok || dot < 1 {
		return "", "", false
	}
	return rest[:dot], rest[dot+1:], slices.Contains(keyFields(), rest[dot+1:])
}

// field returns the settable value of the key at path and a function that must
// be called once it is set; false if there is no such key.
func (c *Config) field(path string) (reflect.Value, func(), bool) {
	if id, name, ok := splitKeyPath(path); ok {
		entry := c.Keys[id]
		v, _, _ := find(reflect.ValueOf(&entry).Elem(), name)
		return v, func() {
			if c.Keys == nil {
				c.Keys = make(map[string]Key)
			}
			c.Keys[id] = entry
		}, true
	}
	return find(reflect.ValueOf(c).Elem(), path)
}

func find(root reflect.Value, want string) (found reflect.Value, done func(), ok bool) {
	walk(root, "", func(path string, v reflect.Value) {
		if path == want && v.CanSet() {
			found, ok = v, true
		}
	})
	return found, func() {}, ok
}

// nearest returns the candidate that differs least from what was written, or ""
// if none is near.
func nearest(written string, candidates []string) string {
	best, bestDistance := "", len(written)/2+1
	for _, c := range candidates {
		if d := distance(written, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance between a and b, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
