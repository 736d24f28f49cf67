// Package arch has no code: its tests hold the house rules that a compiler
// does not check. CONTRIBUTING.md says them in words.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "consilium"

// pkg is what go list says of a package.
type pkg struct {
	ImportPath   string
	Dir          string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	Deps         []string
}

// root returns the repository's top directory.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// list returns our packages.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,TestGoFiles,XTestGoFiles,Imports,Deps", "./...")
	cmd.Dir = root(t)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []pkg
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 10 {
		t.Fatalf("go list found only %d packages", len(packages))
	}
	return packages
}

// domain packages are the large ones; what each may import of the others.
// Everything else of ours that they import must be a leaf.
func domain() map[string][]string {
	return map[string][]string{
		"sfu":       {},
		"turn":      {},
		"recorder":  {},
		"web":       {},
		"signaling": {"sfu"},
	}
}

// aboveDomain reports whether a package may import domain packages: the
// composition root, the program, and what tests them whole.
func aboveDomain(name string) bool {
	switch name {
	case "internal/server", "internal/api", "internal/bot", "internal/e2e", "internal/netlab/trial", "internal/probe", "internal/load", "internal/testserver":
		return true
	}
	return strings.HasPrefix(name, "cmd/")
}

// ours strips the module's name from an import path; "" if it is not ours.
func ours(path string) string {
	name, ok := strings.CutPrefix(path, module+"/")
	if !ok {
		return ""
	}
	return name
}

func TestImportsPointInOneDirection(t *testing.T) {
	for _, p := range list(t) {
		name := ours(p.ImportPath)
		for _, path := range p.Imports {
			imported := ours(path)
			if imported == "" {
				continue
			}
			if fault := forbidden(name, imported); fault != "" {
				t.Errorf("%s imports %s: %s", name, imported, fault)
			}
		}
	}
}

// forbidden says why a package must not import another one; "" if it may.
func forbidden(name, imported string) string {
	_, importsDomain := domain()[imported]
	allowed, isDomain := domain()[name]
	switch {
	case strings.HasPrefix(imported, "cmd/"):
		return "nobody imports a program"
	case imported == "internal/server":
		if strings.HasPrefix(name, "cmd/") || name == "internal/e2e" {
			return ""
		}
		return "only the program imports the composition root"
	case importsDomain && aboveDomain(name):
		return ""
	case importsDomain && isDomain && slices.Contains(allowed, imported):
		return ""
	case importsDomain:
		return "only internal/server knows how the parts meet"
	case isDomain && aboveDomain(imported):
		return "domain packages import only leaves"
	}
	return ""
}

func TestLeavesReachNoDomainPackage(t *testing.T) {
	for _, p := range list(t) {
		name := ours(p.ImportPath)
		if !strings.HasPrefix(name, "internal/") || aboveDomain(name) {
			continue
		}
		for _, path := range p.Deps {
			if _, bad := domain()[ours(path)]; bad {
				t.Errorf("leaf %s depends on %s", name, ours(path))
			}
		}
	}
}

func TestTheProgramLinksNoTemplatesAndNoTestCode(t *testing.T) {
	for _, p := range list(t) {
		if p.ImportPath != module+"/cmd/consilium" {
			continue
		}
		for _, bad := range []string{
			"text/template", "html/template", "testing", "log",
			module + "/internal/browser", module + "/internal/leak", module + "/internal/lossy", module + "/internal/e2e",
		} {
			// Standard packages may use log; ours must not, which
			// TestSourceKeepsTheHouseRules sees to.
			if bad != "log" && slices.Contains(p.Deps, bad) {
				t.Errorf("the program links %s", bad)
			}
		}
		return
	}
	t.Error("cmd/consilium is missing")
}
