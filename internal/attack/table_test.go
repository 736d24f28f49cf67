package attack

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const table = "../../docs/explanation/attacks.md"

// directories of the packages that the table names.
var directories = map[string]string{
	"attack": ".", "contract": "../contract", "portmux": "../portmux", "turn": "../../turn", "sfu": "../../sfu",
}

var (
	row  = regexp.MustCompile(`^\| (\d+) \|`)
	test = regexp.MustCompile("`(\\w+)\\.(Test\\w+)`")
	decl = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
)

// testsOf lists the tests of a directory.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", dir, err)
	}
	names := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range decl.FindAllSubmatch(text, -1) {
			names[string(found[1])] = true
		}
	}
	return names
}

func TestTheTableOfAttacksNamesTestsThatExist(t *testing.T) {
	text, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{}
	for name, dir := range directories {
		known[name] = testsOf(t, dir)
	}
	next := 1
	for line := range strings.Lines(string(text)) {
		number := row.FindStringSubmatch(line)
		if number == nil {
			continue
		}
		if number[1] != strconv.Itoa(next) {
			t.Errorf("row %s where %d should be", number[1], next)
		}
		next++
		named := test.FindAllStringSubmatch(line, -1)
		if len(named) == 0 {
			t.Errorf("row %s names no test", number[1])
		}
		for _, name := range named {
			if !known[name[1]][name[2]] {
				t.Errorf("row %s: there is no test %s.%s", number[1], name[1], name[2])
			}
		}
	}
	if next != 51 {
		t.Errorf("the table has %d attacks, want 50", next-1)
	}
	for name := range known["attack"] {
		if name != t.Name() && !strings.Contains(string(text), "attack."+name+"`") {
			t.Errorf("the table does not name %s", name)
		}
	}
}
