package web

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// A browser finds the imports of a module only when it has read the module: a
// tree of modules that is five deep costs five round trips. The page therefore
// names all of them, and the words of its language, so that it comes up after
// two: the document, then everything else at once.

var (
	entryModule = regexp.MustCompile(`<script type="module" src="%ASSETS%/([^"]+)"></script>`)
	// staticImport matches the import and export forms the client uses, one a
	// line; import() of a module is not preloaded.
	staticImport = regexp.MustCompile(`(?m)^(?:import|export|\}) ?(?:[^'"\n]* from )?'(\.[^']+)';`)
)

// moduleGraph returns the files that a module imports, itself first, in the
// order in which a browser would ask for them.
func moduleGraph(files fs.FS, entry string) ([]string, error) {
	graph := []string{entry}
	for i := 0; i < len(graph); i++ {
		text, err := fs.ReadFile(files, graph[i])
		if err != nil {
			return nil, fmt.Errorf("reading module of the client: %w", err)
		}
		for _, m := range staticImport.FindAllSubmatch(text, -1) {
			imported := path.Join(path.Dir(graph[i]), string(m[1]))
			if !slices.Contains(graph, imported) {
				graph = append(graph, imported)
			}
		}
	}
	return graph, nil
}

// preload writes links for everything that the page's module needs before it
// can show anything; words is the catalogue of the page's language.
func preload(files fs.FS, page []byte, words string) ([]byte, error) {
	entry := entryModule.FindSubmatch(page)
	if entry == nil {
		return page, nil
	}
	graph, err := moduleGraph(files, string(entry[1]))
	if err != nil {
		return nil, err
	}
	var links strings.Builder
	fmt.Fprintf(&links, "<link rel=\"preload\" as=\"fetch\" crossorigin href=\"%%ASSETS%%/%s\">\n", words)
	for _, module := range graph[1:] {
		fmt.Fprintf(&links, "<link rel=\"modulepreload\" href=\"%%ASSETS%%/%s\">\n", module)
	}
	return bytes.Replace(page, entry[0], append([]byte(links.String()), entry[0]...), 1), nil
}

// languages are those of the client, by the names of the catalogues; the first
// is for whoever reads none of them.
var languages = []string{"en", "ru"}

// language picks the first language of Accept-Language (RFC 9110 section
// 12.5.4) that the client has. Weights are ignored: browsers list by weight.
// It is a guess for preloading: the page decides, knowing the token too.
func language(header string) string {
	for part := range strings.SplitSeq(header, ",") {
		tag, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		base, _, _ := strings.Cut(strings.ToLower(tag), "-")
		if slices.Contains(languages, base) {
			return base
		}
	}
	return languages[0]
}
