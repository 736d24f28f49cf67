package event

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// table returns the first column of the table under a heading of
// docs/reference/events.md.
func table(t *testing.T, heading string) (names []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/reference/events.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("there is no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(section, -1) {
		names = append(names, m[1])
	}
	return names
}

func TestTheReferenceListsEveryTypeNoteAndCode(t *testing.T) {
	var types, codes []string
	for _, typ := range Types() {
		types = append(types, string(typ))
	}
	for _, code := range Codes() {
		codes = append(codes, string(code))
	}
	notes := []string{string(NoteCandidate), string(NoteState), string(NoteNegotiation), string(NoteClient), string(NoteTrack), string(NoteClock)}
	for heading, want := range map[string][]string{"Types": types, "Notes": notes, "Failure codes": codes} {
		if got := table(t, heading); !slices.Equal(got, want) {
			t.Errorf("%s:\ndocumented: %q\nin code:    %q", heading, got, want)
		}
	}
}
