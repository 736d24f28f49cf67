package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"consilium/internal/event"
)

func TestTheTableOfFailuresHasEveryCodeAndNoTestThatIsNotThere(t *testing.T) {
	text, err := os.ReadFile("../../docs/explanation/failures.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Each code\n")
	for _, code := range event.Codes() {
		if !strings.Contains(table, "`"+string(code)+"`") {
			t.Errorf("%s is missing", code)
		}
	}
	var source strings.Builder
	for _, pattern := range []string{"*_test.go", "../netlab/trial/*_test.go", "../../sfu/*_test.go", "../../recorder/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			content, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(content)
		}
	}
	for _, m := range regexp.MustCompile("`(Test[A-Za-z]+)`").FindAllStringSubmatch(table, -1) {
		if !strings.Contains(source.String(), "func "+m[1]+"(") {
			t.Errorf("there is no %s", m[1])
		}
	}
}
