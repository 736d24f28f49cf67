package api

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"consilium/internal/audit"
	"consilium/internal/catalog"
	"consilium/internal/event"
	"consilium/internal/timeline"
)

// described is what the tests need of openapi.json.
type described struct {
	OpenAPI    string                                `json:"openapi"`
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]struct {
			Properties           map[string]json.RawMessage `json:"properties"`
			Required             []string                   `json:"required"`
			AdditionalProperties *bool                      `json:"additionalProperties"`
		} `json:"schemas"`
	} `json:"components"`
}

func description(t *testing.T) (d described) {
	t.Helper()
	if err := json.Unmarshal(openapi, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// served lists the routes as "METHOD /path".
func served() (list []string) {
	for _, r := range routes() {
		list = append(list, r.method+" "+r.path)
	}
	slices.Sort(list)
	return list
}

func TestOpenAPIDescribesExactlyTheRoutes(t *testing.T) {
	d := description(t)
	if !strings.HasPrefix(d.OpenAPI, "3.1.") {
		t.Errorf("version %q", d.OpenAPI)
	}
	var list []string
	for path, methods := range d.Paths {
		for method := range methods {
			list = append(list, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(list)
	if want := served(); !slices.Equal(list, want) {
		t.Errorf("described: %q\nserved:    %q", list, want)
	}
}

func TestTheReferenceListsExactlyTheRoutes(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/http-api.md")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, m := range regexp.MustCompile("(?m)^### `([A-Z]+ /[^`]*)`$").FindAllStringSubmatch(string(text), -1) {
		list = append(list, m[1])
	}
	slices.Sort(list)
	if want := served(); !slices.Equal(list, want) {
		t.Errorf("documented: %q\nserved:     %q", list, want)
	}
}

func TestPrefixesCoverAllRoutes(t *testing.T) {
	for _, path := range Paths() {
		if !slices.ContainsFunc(Prefixes(), func(prefix string) bool {
			return path == prefix || strings.HasSuffix(prefix, "/") && strings.HasPrefix(path, prefix)
		}) {
			t.Errorf("%s is under no prefix", path)
		}
	}
}

func TestReferencesInOpenAPILeadSomewhere(t *testing.T) {
	var tree any
	if err := json.Unmarshal(openapi, &tree); err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"\$ref": "#/([^"]+)"`).FindAllStringSubmatch(string(openapi), -1) {
		at := tree
		for step := range strings.SplitSeq(m[1], "/") {
			object, _ := at.(map[string]any)
			at = object[step]
		}
		if at == nil {
			t.Errorf("%s leads nowhere", m[1])
		}
	}
}

func TestSchemasHaveTheFieldsOfTheTypes(t *testing.T) {
	schemas := description(t).Components.Schemas
	for name, value := range map[string]any{
		"NewCall": newCall{}, "NewParticipant": newParticipant{}, "CreatedCall": createdCall{}, "Invitation": invitation{},
		"Call": callView{}, "Participant": participantView{}, "Track": trackView{}, "Event": event.Event{},
		"TURNCredentials": TURNCredentials{}, "Diagnostics": diagnostics{}, "DiagnosticEntry": diagEntry{}, "Diagnosis": diagnosis{},
		"TimelineParticipant": timeline.Participant{}, "DeviceClock": timeline.Clock{}, "PassedStage": timeline.Stage{},
		"OfferedCandidate": timeline.Candidate{}, "StateChange": timeline.Change{}, "EndStates": timeline.EndStates{}, "MediaPath": timeline.Path{},
		"Recording": catalog.Recording{}, "RecordedParticipant": catalog.Participant{}, "AuditEntry": audit.Entry{},
		"PrecheckRoom": precheckRoom{}, "Precheck": precheckOutcome{}, "Check": checkOutcome{},
		"Verification": Verification{},
	} {
		t.Run(name, func(t *testing.T) {
			schema, ok := schemas[name]
			if !ok {
				t.Fatal("not described")
			}
			var listed []string
			for property := range schema.Properties {
				listed = append(listed, property)
			}
			slices.Sort(listed)
			fields, always := jsonFields(reflect.TypeOf(value))
			if !slices.Equal(listed, fields) {
				t.Errorf("described: %q\nfields:    %q", listed, fields)
			}
			if schema.AdditionalProperties != nil {
				return // a request: what is required is checked by its own tests
			}
			slices.Sort(schema.Required)
			if !slices.Equal(schema.Required, always) {
				t.Errorf("required: %q\nalways there: %q", schema.Required, always)
			}
		})
	}
}

// jsonFields returns the names of all fields, and of those that are never
// left out.
func jsonFields(of reflect.Type) (all, always []string) {
	for field := range of.Fields() {
		if field.Anonymous {
			more, needed := jsonFields(field.Type)
			all, always = append(all, more...), append(always, needed...)
			continue
		}
		name, option, _ := strings.Cut(field.Tag.Get("json"), ",")
		all = append(all, name)
		if option != "omitempty" {
			always = append(always, name)
		}
	}
	slices.Sort(all)
	slices.Sort(always)
	return all, always
}
