package web

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

var (
	linkTag = regexp.MustCompile(`<link rel="(modulepreload|preload)"[^>]* href="(/assets/[^"]+)">`)
	// anyImport finds imports however they are written.
	anyImport = regexp.MustCompile(`(?:from|import)\s*'(\.[^']+)'`)
)

func TestAPageNamesEveryModuleItNeedsAndEachExists(t *testing.T) {
	h := newHandler(t, Config{})
	for _, path := range []string{"/", "/r/room", "/admin", "/selftest", "/recordings/x"} {
		t.Run(path, func(t *testing.T) {
			page := text(t, get(t, h, path))
			named := map[string]bool{}
			for _, m := range assetURL.FindAllStringSubmatch(page, -1) {
				named[m[1]] = true
			}
			for url := range named {
				if !strings.HasSuffix(url, ".js") {
					continue
				}
				dir := url[:strings.LastIndex(url, "/")+1]
				for _, m := range anyImport.FindAllStringSubmatch(text(t, get(t, h, url)), -1) {
					if imported := clean(dir + m[1]); !named[imported] {
						t.Errorf("%s imports %s, which the page does not name", url, imported)
					}
				}
			}
			for _, m := range linkTag.FindAllStringSubmatch(page, -1) {
				if got := get(t, h, m[2]).StatusCode; got != 200 {
					t.Errorf("%s: got status %d, want 200", m[2], got)
				}
			}
		})
	}
}

// clean resolves ./ and ../ in a path.
func clean(path string) string {
	var out []string
	for part := range strings.SplitSeq(path, "/") {
		switch part {
		case ".":
		case "..":
			out = out[:len(out)-1]
		default:
			out = append(out, part)
		}
	}
	return strings.Join(out, "/")
}

func TestTheWordsPreloadedAreThoseOfTheBrowser(t *testing.T) {
	h := newHandler(t, Config{})
	for name, want := range map[string]string{
		"": "en", "ru": "ru", "ru-RU,ru;q=0.9,en;q=0.8": "ru", "de-DE, en-GB;q=0.7": "en", "fr": "en", ",;q=,-": "en", "RU-ru": "ru",
	} {
		page := text(t, get(t, h, "/", "Accept-Language", name))
		if !strings.Contains(page, "/i18n/"+want+".json\"") || strings.Count(page, "/i18n/") != 1 {
			t.Errorf("Accept-Language %q: the page does not preload %s alone", name, want)
		}
	}
}

func TestAModuleGraphEndsWhereModulesImportEachOther(t *testing.T) {
	files := fstest.MapFS{
		"js/a.js":     {Data: []byte("import './ui/b.js';\nimport {\n  x, y,\n} from './c.js';\nconst s = \"from './no.js'\";\n")},
		"js/ui/b.js":  {Data: []byte("import { a } from '../a.js';\nexport { d } from './d.js';\n")},
		"js/ui/d.js":  {Data: []byte("export const d = 1;\n")},
		"js/c.js":     {Data: []byte("// import './no.js';\n")},
		"js/unuse.js": {},
	}
	got, err := moduleGraph(files, "js/a.js")
	if want := []string{"js/a.js", "js/ui/b.js", "js/c.js", "js/ui/d.js"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	files["js/c.js"].Data = []byte("import './gone.js';\n")
	if _, err := moduleGraph(files, "js/a.js"); err == nil {
		t.Error("a module that does not exist is no error")
	}
}
