package web

import (
	"encoding/json"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"consilium/internal/event"
)

// staticFiles returns the embedded files with one of the extensions, by name.
func staticFiles(t *testing.T, extensions ...string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(embedded, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains(extensions, path.Ext(name)) {
			return err
		}
		data, err := fs.ReadFile(embedded, name)
		files[strings.TrimPrefix(name, "static/")] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no files with %v", extensions)
	}
	return files
}

func catalogues(t *testing.T) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	for name, data := range staticFiles(t, ".json") {
		words := map[string]string{}
		if err := json.Unmarshal([]byte(data), &words); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = words
	}
	return all
}

func TestEveryLanguageHasTheSameKeysAndParameters(t *testing.T) {
	parameter := regexp.MustCompile(`\{\w+\}`)
	all := catalogues(t)
	english := all["i18n/en.json"]
	for name, words := range all {
		for key, text := range words {
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s: %s is empty", name, key)
			}
			source, ok := english[key]
			if !ok {
				t.Errorf("%s has %s, English has not", name, key)
			}
			got, want := parameter.FindAllString(text, -1), parameter.FindAllString(source, -1)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s has parameters %v, English has %v", name, key, got, want)
			}
		}
		for key := range english {
			if _, ok := words[key]; !ok {
				t.Errorf("%s lacks %s", name, key)
			}
		}
	}
	if len(all) < 2 {
		t.Errorf("got %d languages, want English and Russian", len(all))
	}
}

func TestEveryFailureCodeHasWordsForEveryReader(t *testing.T) {
	for name, words := range catalogues(t) {
		for _, code := range event.Codes() {
			for _, reader := range []string{"patient", "doctor", "admin"} {
				if key := "code." + string(code) + "." + reader; words[key] == "" {
					t.Errorf("%s lacks %s", name, key)
				}
			}
		}
	}
}

func TestNoCodeOutsideTheContractHasWords(t *testing.T) {
	codes := map[string]bool{}
	for _, c := range event.Codes() {
		codes[string(c)] = true
	}
	for name, words := range catalogues(t) {
		for key := range words {
			rest, ok := strings.CutPrefix(key, "code.")
			if code, _, _ := strings.Cut(rest, "."); ok && !codes[code] {
				t.Errorf("%s: %s is of no code of the contract", name, key)
			}
		}
	}
}

// TestKeysUsedInTheCodeExist covers keys that are written out; those that are
// put together (`code.${...}`) must be the start of some key.
func TestKeysUsedInTheCodeExist(t *testing.T) {
	literal := regexp.MustCompile(`\bt\('([^']+)'`)
	wordsOption := regexp.MustCompile(`words: '([a-z_.]+)'`)
	texted := regexp.MustCompile(`scope\.text\(h\([^)]*\)+, '([^']+)'\)`)
	composed := regexp.MustCompile("\\bt\\(`([^$`]+)\\$")
	english := catalogues(t)["i18n/en.json"]
	keys := slices.Collect(maps.Keys(english))
	startsSome := func(prefix string) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, prefix) })
	}
	found := 0
	for name, code := range staticFiles(t, ".js") {
		for _, pattern := range []*regexp.Regexp{literal, wordsOption, texted} {
			for _, m := range pattern.FindAllStringSubmatch(code, -1) {
				found++
				if _, ok := english[m[1]]; !ok && !startsSome(m[1]+".") {
					t.Errorf("%s uses %q, which no catalogue has", name, m[1])
				}
			}
		}
		for _, m := range composed.FindAllStringSubmatch(code, -1) {
			found++
			if !startsSome(m[1]) {
				t.Errorf("%s puts together keys from %q, which starts none", name, m[1])
			}
		}
	}
	if found < 50 {
		t.Errorf("found %d uses of keys: the patterns do not fit the code any more", found)
	}
}

func TestPagesHaveNoInlineCodeOrStyle(t *testing.T) {
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|javascript:|<script(?:[^>]*[^>"])?>\s*[^<\s]|<base|<form`)
	foreign := regexp.MustCompile(`(?:src|href)="(?:[a-z]+:)?//`)
	for name, page := range staticFiles(t, ".html") {
		if m := inline.FindString(page); m != "" {
			t.Errorf("%s has %q, which the policy forbids", name, m)
		}
		if m := foreign.FindString(page); m != "" {
			t.Errorf("%s refers to another origin: %q", name, m)
		}
	}
}

func TestScriptsKeepTheRulesOfTheHouse(t *testing.T) {
	forbidden := regexp.MustCompile(`\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write|setAttribute\('style'`)
	dom := regexp.MustCompile(`\bdocument\b|\bHTML\w*Element\b|querySelector|createElement`)
	for name, code := range staticFiles(t, ".js") {
		if !strings.HasPrefix(code, "// @ts-check\n") {
			t.Errorf("%s is not type-checked: it does not begin with // @ts-check", name)
		}
		if m := forbidden.FindString(code); m != "" {
			t.Errorf("%s has %q", name, m)
		}
		if m := dom.FindString(code); m != "" && strings.HasPrefix(name, "js/client/") {
			t.Errorf("%s has %q: js/client knows no page", name, m)
		}
		if lines := strings.Count(code, "\n"); lines > 400 {
			t.Errorf("%s has %d lines, more than 400", name, lines)
		}
	}
}

func TestImportsResolveInsideTheTree(t *testing.T) {
	statement := regexp.MustCompile(`(?m)(?:^import[^;]*?from |^import |import\()'([^']+)'`)
	files := staticFiles(t, ".js")
	for name, code := range files {
		for _, m := range statement.FindAllStringSubmatch(code, -1) {
			if strings.Contains(m[0], "import('") {
				continue // a type in a comment; the type check reads those
			}
			if target := path.Join(path.Dir(name), m[1]); files[target] == "" {
				t.Errorf("%s imports %s, which does not exist", name, m[1])
			}
			if strings.HasPrefix(name, "js/client/") && strings.Contains(m[1], "/ui/") {
				t.Errorf("%s imports the user interface: %s", name, m[1])
			}
		}
	}
}

func TestTheAdministratorChoosesFromEveryCode(t *testing.T) {
	var listed, want []string
	for _, m := range regexp.MustCompile(`'([A-Z_]+)'`).FindAllStringSubmatch(staticFiles(t, ".js")["js/client/codes.js"], -1) {
		listed = append(listed, m[1])
	}
	for _, code := range event.Codes() {
		want = append(want, string(code))
	}
	if !slices.Equal(listed, want) {
		t.Errorf("listed: %q\nof the contract: %q", listed, want)
	}
}
