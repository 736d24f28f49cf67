package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// maxLines is how long a Go file may be. The aim is 400.
const maxLines = 500

// source is a parsed Go file.
type source struct {
	path string // from the root
	test bool
	file *ast.File
	set  *token.FileSet
}

func (s source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.set.Position(n.Pos()).Line)
}

// sources parses every Go file of ours.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, p := range list(t) {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			set := token.NewFileSet()
			path := filepath.Join(p.Dir, name)
			file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			short, err := filepath.Rel(root(t), path)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, source{short, strings.HasSuffix(name, "_test.go"), file, set})
		}
	}
	return all
}

func TestFilesAreShortEnoughToRead(t *testing.T) {
	for _, s := range sources(t) {
		lines := s.set.File(s.file.Pos()).LineCount()
		if lines > maxLines {
			t.Errorf("%s has %d lines, more than %d", s.path, lines, maxLines)
		}
	}
}

func TestNoPackageIsAGrabBag(t *testing.T) {
	for _, p := range list(t) {
		switch filepath.Base(p.ImportPath) {
		case "util", "utils", "common", "helpers", "misc", "manager", "types", "base", "shared":
			t.Errorf("%s: a name that says nothing", p.ImportPath)
		}
	}
}

func TestSourceKeepsTheHouseRules(t *testing.T) {
	for _, s := range sources(t) {
		program := strings.HasPrefix(s.path, "cmd/")
		for _, imported := range s.file.Imports {
			switch path := strings.Trim(imported.Path.Value, `"`); path {
			case "text/template", "html/template":
				t.Errorf("%s imports %s: it keeps the linker from dropping dead methods", s.at(imported), path)
			case "log":
				t.Errorf("%s imports log: use an injected *slog.Logger", s.at(imported))
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch name := called(call); {
			case name == "time.Sleep" && !fakeTime(s):
				t.Errorf("%s sleeps: wait for what you wait for", s.at(call))
			case name == "os.Exit" && !program && !s.test:
				t.Errorf("%s exits: return an error", s.at(call))
			case name == "panic" && !s.test:
				t.Errorf("%s panics: return an error", s.at(call))
			}
			return true
		})
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: init runs behind the reader's back", s.at(f))
			}
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR && !s.test {
				checkVars(t, s, g)
			}
		}
	}
}

// fakeTime reports whether a file is a test in which sleeping takes no time.
func fakeTime(s source) bool {
	return s.test && slices.ContainsFunc(s.file.Imports, func(i *ast.ImportSpec) bool {
		return i.Path.Value == `"testing/synctest"`
	})
}

// called names a call of a function or of a package's function.
func called(call *ast.CallExpr) string {
	fun := call.Fun
	if generic, ok := fun.(*ast.IndexExpr); ok {
		fun = generic.X
	}
	switch f := fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
	}
	return ""
}

// checkVars allows package variables that nobody changes: errors, embedded
// files, compiled expressions, interface checks and tables that are only read.
func checkVars(t *testing.T, s source, g *ast.GenDecl) {
	t.Helper()
	for _, spec := range g.Specs {
		v, ok := spec.(*ast.ValueSpec)
		if !ok || v.Names[0].Name == "_" || embedded(g) || embeddedSpec(v) {
			continue
		}
		for i, name := range v.Names {
			if i >= len(v.Values) || !constant(v.Values[i]) {
				t.Errorf("%s: package variable %s is neither an error nor a table", s.at(name), name.Name)
			} else if changed(s, name.Name) {
				t.Errorf("%s: package variable %s is changed", s.at(name), name.Name)
			}
		}
	}
}

func embedded(g *ast.GenDecl) bool       { return directive(g.Doc) }
func embeddedSpec(v *ast.ValueSpec) bool { return directive(v.Doc) }

func directive(doc *ast.CommentGroup) bool {
	if doc == nil {
		return false
	}
	return slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// constant reports whether a package variable's value is of a kind that is
// made once: an error, a compiled expression, a composite literal.
func constant(value ast.Expr) bool {
	switch value := value.(type) {
	case *ast.CompositeLit:
		return true
	case *ast.UnaryExpr: // &T{}
		_, ok := value.X.(*ast.CompositeLit)
		return ok
	case *ast.CallExpr:
		switch called(value) {
		case "errors.New", "fmt.Errorf", "regexp.MustCompile", "strings.NewReplacer", "netip.MustParsePrefix", "netip.MustParseAddr", "reflect.TypeFor":
			return true
		}
		_, conversion := value.Fun.(*ast.ArrayType) // []byte("...")
		return conversion
	}
	return false
}

// changed reports whether a file assigns to a variable, or to its elements.
func changed(s source, name string) bool {
	found := false
	ast.Inspect(s.file, func(n ast.Node) bool {
		assign, ok := n.(*ast.AssignStmt)
		if !ok || assign.Tok == token.DEFINE {
			return true
		}
		for _, left := range assign.Lhs {
			if index, ok := left.(*ast.IndexExpr); ok {
				left = index.X
			}
			// Obj is resolved within the file: a local variable of that name is another one.
			if id, ok := left.(*ast.Ident); ok && id.Name == name && (id.Obj == nil || id.Obj == s.file.Scope.Lookup(name)) {
				found = true
			}
		}
		return true
	})
	return found
}

func TestTheTopLevelHoldsNothingUnexpected(t *testing.T) {
	directories := []string{"cmd", "sfu", "turn", "recorder", "signaling", "web", "testdata", "docs", "packaging", "internal"}
	files := []string{
		"go.mod", "go.sum", "Makefile", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE",
	}
	for _, path := range tracked(t) {
		first, _, below := strings.Cut(path, "/")
		switch {
		case strings.HasPrefix(first, "."): // .ci, .gitignore, .editorconfig
		case below && !slices.Contains(directories, first):
			t.Errorf("directory %s does not belong at the top level", first)
		case !below && !slices.Contains(files, first):
			t.Errorf("file %s does not belong at the top level", first)
		}
	}
}

func TestTheTreeNamesNoMachineAndNoRegistry(t *testing.T) {
	// Put together here, so that this file does not name them.
	bad := []string{"/wo" + "rk/", "registry.np" + "mjs.org", "proxy.gol" + "ang.org", "sum.gol" + "ang.org", "/ro" + "ot/"}
	for _, path := range tracked(t) {
		data, err := os.ReadFile(filepath.Join(root(t), path))
		if os.IsNotExist(err) {
			continue // removed and not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range bad {
			if strings.Contains(string(data), word) {
				t.Errorf("%s names %s", path, word)
			}
		}
	}
}
