package signaling

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"consilium/internal/event"
	"consilium/sfu"
)

// readProtocol returns docs/reference/protocol.md.
func readProtocol(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../docs/reference/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// chapter returns the text from a heading to the next of the same level.
func chapter(text, heading string) string {
	_, rest, ok := strings.Cut("\n"+text, "\n"+heading+"\n")
	if !ok {
		return ""
	}
	level, _, _ := strings.Cut(heading, " ")
	rest, _, _ = strings.Cut(rest, "\n"+level+" ")
	if level == "###" {
		rest, _, _ = strings.Cut(rest, "\n## ")
	}
	return rest
}

var chapters = map[Direction]string{ToServer: "## Client to server", ToClient: "## Server to client"}

func TestEveryMessageIsDocumentedWithItsFields(t *testing.T) {
	text := readProtocol(t)
	for _, m := range Catalogue() {
		section := chapter(chapter(text, chapters[m.Direction]), "### "+m.Name)
		if section == "" {
			t.Errorf("%s: %s is not documented", m.Direction, m.Name)
			continue
		}
		for _, field := range fieldsOf(reflect.TypeOf(m.New())) {
			if m.Name == "state" && strings.Contains(section, "fields as in `participant`") && participantFields()[field] {
				continue
			}
			if field == "urls" || field == "username" || field == "credential" {
				continue // of ice_servers: described once, under welcome
			}
			if !strings.Contains(section, "`"+field+"`") {
				t.Errorf("%s: %s has an undocumented field %s", m.Direction, m.Name, field)
			}
		}
		if m.Request != strings.Contains(section, "Request") {
			t.Errorf("%s: the page and the code disagree on whether %s is a request", m.Direction, m.Name)
		}
	}
	welcome := chapter(chapter(text, chapters[ToClient]), "### welcome")
	for _, field := range fieldsOf(reflect.TypeFor[ICEServer]()) {
		if !strings.Contains(welcome, "`"+field+"`") {
			t.Errorf("ICE server: undocumented field %s", field)
		}
	}
	envelope := chapter(text, "## Messages and numbers")
	for _, field := range fieldsOf(reflect.TypeFor[Envelope]()) {
		if !strings.Contains(envelope, "| `"+field+"` |") {
			t.Errorf("envelope: undocumented field %s", field)
		}
	}
}

func participantFields() map[string]bool {
	fields := map[string]bool{}
	for _, f := range fieldsOf(reflect.TypeFor[Participant]()) {
		fields[f] = true
	}
	return fields
}

// fieldsOf lists the JSON names of a type's fields and of those within.
func fieldsOf(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return fieldsOf(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
		names = append(names, fieldsOf(f.Type)...)
	}
	return names
}

func TestNoMessageIsDocumentedThatDoesNotExist(t *testing.T) {
	text := readProtocol(t)
	for direction, heading := range chapters {
		for _, found := range regexp.MustCompile(`(?m)^### (\S+)$`).FindAllStringSubmatch(chapter(text, heading), -1) {
			if !slices.ContainsFunc(Catalogue(), func(m MessageType) bool {
				return m.Direction == direction && m.Name == found[1]
			}) {
				t.Errorf("%s: %s does not exist", direction, found[1])
			}
		}
	}
}

func TestEveryExampleDecodes(t *testing.T) {
	text := readProtocol(t)
	fence := regexp.MustCompile("(?s)```json\n(.*?)\n```")
	for _, m := range Catalogue() {
		section := chapter(chapter(text, chapters[m.Direction]), "### "+m.Name)
		examples := fence.FindAllStringSubmatch(section, -1)
		if len(examples) != 1 {
			t.Errorf("%s: %s has %d examples, want 1", m.Direction, m.Name, len(examples))
			continue
		}
		raw := []byte(examples[0][1])
		var e Envelope
		if err := decodeStrict(raw, &e); err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		if e.Type != m.Name || (e.Seq > 0) != m.Numbered || (m.Direction == ToServer && m.Request && e.ID == "") {
			t.Errorf("%s: envelope of the example: %+v", m.Name, e)
		}
		if m.Direction == ToServer {
			if in := decode(raw); in.refusal != nil {
				t.Errorf("%s: the server refuses the example: %s", m.Name, in.refusal.text)
			}
		} else if err := decodeStrict(e.Body, m.New()); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
}

func TestEveryErrorCodeIsDocumented(t *testing.T) {
	codes := []string{
		codeUnknownType, codeUnexpected, codeSequence, codeReplyGone, codeOfferInFlight, codeConsentRequired,
		codeSessionUnknown, codeTooBig, codeBadMessage, codeRateLimited, "internal",
		string(event.TokenBad), string(event.TokenExpired), string(event.TokenEarly), string(event.ConsentDeclined),
	}
	for _, err := range []error{
		sfu.ErrBadOffer, sfu.ErrNotSDP, sfu.ErrNoGrant, sfu.ErrNotFound, sfu.ErrWaiting, sfu.ErrConflict, sfu.ErrClosed,
		sfu.ErrBusy, sfu.ErrDraining, sfu.ErrRecording,
	} {
		_, code, ok := sfu.Refusal(err)
		if !ok {
			t.Errorf("%v is no refusal", err)
		}
		codes = append(codes, code)
	}
	table := chapter(readProtocol(t), "## Codes of error")
	for _, code := range codes {
		if !strings.Contains(table, "`"+code+"`") {
			t.Errorf("%s is not documented", code)
		}
	}
}

func TestTheCatalogueIsACopy(t *testing.T) {
	Catalogue()[0].Name = "changed"
	if Catalogue()[0].Name != "hello" {
		t.Error("callers can change the catalogue")
	}
}
