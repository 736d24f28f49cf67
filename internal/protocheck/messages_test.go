package protocheck

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"consilium/signaling"
)

const clientMessages = "../../web/static/js/client/messages.js"

// field is a field of a message, as both sides declare it.
type field struct {
	kind     string // string, number, boolean, any, or the name of a typedef, with [] or map: before it
	optional bool
}

var (
	comment    = regexp.MustCompile(`(?s)/\*\*.*?\*/`)
	typedef    = regexp.MustCompile(`@typedef \{(.+)\} (\w+)`)
	property   = regexp.MustCompile(`@property \{(.+)\} (\[?)(\w+)\]?`)
	mapOf      = regexp.MustCompile(`^Record<string, (\w+)>$`)
	subprotoJS = regexp.MustCompile(`SUBPROTOCOL = '([^']+)'`)
)

// readTypedefs returns the fields of every object typedef, and the types that
// other typedefs stand for.
func readTypedefs(source string) (objects map[string]map[string]field, aliases map[string]string) {
	objects, aliases = map[string]map[string]field{}, map[string]string{}
	for _, block := range comment.FindAllString(source, -1) {
		def := typedef.FindStringSubmatch(block)
		if def == nil {
			continue
		}
		if def[1] != "object" && def[1] != "Record<string, never>" {
			aliases[def[2]] = def[1]
			continue
		}
		fields := map[string]field{}
		for _, p := range property.FindAllStringSubmatch(block, -1) {
			fields[p[3]] = field{kind: p[1], optional: p[2] == "["}
		}
		objects[def[2]] = fields
	}
	for _, fields := range objects {
		for name, f := range fields {
			f.kind = plain(f.kind, aliases)
			fields[name] = f
		}
	}
	return objects, aliases
}

// plain reduces a type of JavaScript to what Go can say too: a union of string
// literals is a string.
func plain(kind string, aliases map[string]string) string {
	if alias, ok := aliases[kind]; ok {
		kind = alias
	}
	if strings.Contains(kind, "'") {
		return "string"
	}
	if m := mapOf.FindStringSubmatch(kind); m != nil {
		return "map:" + m[1]
	}
	if item, ok := strings.CutSuffix(kind, "[]"); ok {
		return "[]" + item
	}
	return kind
}

// goFields returns the fields of a struct by their JSON names and notes the
// structs they are made of.
func goFields(t reflect.Type, seen map[string]reflect.Type) map[string]field {
	fields := map[string]field{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		kind := f.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		fields[name] = field{kind: goKind(kind, seen), optional: strings.Contains(options, "omitempty")}
	}
	return fields
}

func goKind(t reflect.Type, seen map[string]reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64:
		return "number"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 { // json.RawMessage
			return "any"
		}
		return "[]" + goKind(t.Elem(), seen)
	case reflect.Map:
		return "map:" + goKind(t.Elem(), seen)
	case reflect.Interface:
		return "any"
	case reflect.Struct:
		seen[t.Name()] = t
		return t.Name()
	}
	return t.String()
}

// goMessages returns every struct of the protocol with its fields.
func goMessages() map[string]map[string]field {
	found := map[string]reflect.Type{"Envelope": reflect.TypeFor[signaling.Envelope]()}
	for _, m := range signaling.Catalogue() {
		t := reflect.TypeOf(m.New()).Elem()
		found[t.Name()] = t
	}
	structs := map[string]map[string]field{}
	for len(structs) < len(found) {
		for name, t := range maps.Clone(found) {
			structs[name] = goFields(t, found)
		}
	}
	return structs
}

func TestTheClientKnowsTheMessagesOfTheServer(t *testing.T) {
	source, err := os.ReadFile(clientMessages)
	if err != nil {
		t.Fatal(err)
	}
	client, _ := readTypedefs(string(source))
	server := goMessages()
	if len(server) < 25 {
		t.Fatalf("only %d structs found: the test looks at the wrong thing", len(server))
	}
	if m := subprotoJS.FindStringSubmatch(string(source)); m == nil || m[1] != signaling.Subprotocol {
		t.Errorf("subprotocol of the client: %q, want %q", m, signaling.Subprotocol)
	}
	for _, name := range slices.Sorted(maps.Keys(server)) {
		have, ok := client[name]
		if !ok {
			t.Errorf("the client has no typedef %s", name)
			continue
		}
		if !maps.Equal(have, server[name]) {
			t.Errorf("%s: the client has %v,\nthe server %v", name, have, server[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(client)) {
		if _, ok := server[name]; !ok {
			t.Errorf("typedef %s of the client is no message of the server", name)
		}
	}
}

func TestADifferenceIsFound(t *testing.T) {
	const right = "/**\n * @typedef {object} Ping\n * @property {number} time\n */"
	want := goMessages()["Ping"]
	for name, source := range map[string]string{
		"other name":    strings.Replace(right, "time", "now", 1),
		"other type":    strings.Replace(right, "number", "string", 1),
		"optional":      strings.Replace(right, "} time", "} [time]", 1),
		"one too many":  strings.Replace(right, " */", " * @property {string} zone\n */", 1),
		"one too few":   "/**\n * @typedef {object} Ping\n */",
		"not an object": "/** @typedef {string} Ping */",
	} {
		if client, _ := readTypedefs(source); maps.Equal(client["Ping"], want) {
			t.Errorf("%s: not found", name)
		}
	}
	if client, _ := readTypedefs(right); !maps.Equal(client["Ping"], want) {
		t.Errorf("what is right: got %v, want %v", client["Ping"], want)
	}
}
