package config

import (
	"reflect"
	"strings"
	"testing"
)

// The example is the reference, so it must name every key with its default and
// no key that does not exist.
func TestExampleMatchesTheStruct(t *testing.T) {
	settings, problems := readFile("config.example.yaml", Example())
	if len(problems) > 0 {
		t.Fatalf("example: %v", problems)
	}
	var c Config // not Default: what the example leaves out must show
	named := make(map[string]bool)
	for _, s := range settings {
		if err := c.set(s); err != nil {
			t.Errorf("%s: %s: %v", s.where, s.path, err)
		}
		named[s.path] = true
	}
	want := Default()
	walk(reflect.ValueOf(want), "", func(path string, v reflect.Value) {
		got, _, _ := c.field(path)
		if !named[path] {
			t.Errorf("example lacks %s", path)
		} else if valueText(got) != valueText(v) {
			t.Errorf("%s: example says %q, default is %q", path, valueText(got), valueText(v))
		}
	})
}

// Keys under keys.<id> have no default; the comment on the section names them.
func TestExampleExplainsTheFieldsOfAKey(t *testing.T) {
	for _, field := range keyFields() {
		if !strings.Contains(string(Example()), "#   "+field+" ") {
			t.Errorf("the comment on keys does not explain %s", field)
		}
	}
}

func TestEveryKeyOfTheExampleIsExplained(t *testing.T) {
	lines := strings.Split(string(Example()), "\n")
	for i, line := range lines {
		name, value, isKey := strings.Cut(strings.TrimSpace(line), ":")
		if !isKey || strings.HasPrefix(name, "#") || value == "" {
			continue
		}
		if !explained(lines[:i]) {
			t.Errorf("line %d: %s has no comment above it", i+1, name)
		}
	}
}

// explained reports whether the last of the lines is a comment, or a key that
// shares the comment above it.
func explained(above []string) bool {
	for i := len(above) - 1; i >= 0; i-- {
		line := strings.TrimSpace(above[i])
		switch {
		case strings.HasPrefix(line, "#"):
			return true
		case line == "" || strings.HasSuffix(line, ":"):
			return false
		}
	}
	return false
}
