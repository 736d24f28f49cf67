package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// fileReader turns a YAML document into settings. It takes the plain part of
// YAML only: no anchors, aliases, tags or merge keys, which would make a
// configuration hard to read aloud over the telephone.
type fileReader struct {
	name     string
	settings []setting
	problems Problems
}

// readFile returns the settings of a YAML document; name is for the messages.
func readFile(name string, data []byte) ([]setting, Problems) {
	r := &fileReader{name: name}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, Problems{syntaxProblem(name, err)}
	}
	for i, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case i > 0:
			r.problem(doc.Body, "", "a second YAML document", "put everything into one, without ---")
		default:
			r.section(doc.Body, "")
		}
	}
	return r.settings, r.problems
}

// syntaxProblem translates an error of the YAML parser, which spreads over
// several lines.
func syntaxProblem(name string, err error) Problem {
	p := Problem{Where: name, What: "not YAML", Remedy: "check indentation (spaces, no tabs), colons and quotes"}
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		p.What, _, _ = strings.Cut(err.Error(), "\n")
		return p
	}
	if t := syntax.GetToken(); t != nil && t.Position != nil {
		p.Where = fmt.Sprintf("%s:%d", name, t.Position.Line)
	}
	p.What, _, _ = strings.Cut(syntax.GetMessage(), "\n")
	if strings.Contains(p.What, "already defined") {
		p.Remedy = "remove one of the two"
	}
	return p
}

func (r *fileReader) where(n ast.Node) string {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return fmt.Sprintf("%s:%d", r.name, t.Position.Line)
	}
	return r.name
}

func (r *fileReader) problem(n ast.Node, key, what, remedy string) {
	r.problems = append(r.problems, Problem{Where: r.where(n), Key: key, What: what, Remedy: remedy})
}

// section reads the keys below prefix.
func (r *fileReader) section(n ast.Node, prefix string) {
	var values []*ast.MappingValueNode
	switch node := n.(type) {
	case *ast.MappingNode:
		values = node.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{node}
	case *ast.NullNode, *ast.CommentGroupNode: // everything in it is commented out
		return
	default:
		r.problem(n, prefix, "is a section", "write its keys below it, indented by two spaces")
		return
	}
	for _, v := range values {
		name, ok := v.Key.(*ast.StringNode)
		if !ok {
			r.problem(v, prefix, fmt.Sprintf("%q is not a plain key", v.Key.String()), "write the key as a word without tags, anchors or merging")
			continue
		}
		path := join(prefix, name.Value)
		switch {
		case prefix == keysSection || isSectionPath(path):
			r.section(v.Value, path)
		default:
			r.value(name, v.Value, path)
		}
	}
}

// isSectionPath reports whether path names a section of the struct.
func isSectionPath(path string) bool {
	return path == keysSection || slices.ContainsFunc(Paths(), func(key string) bool {
		return strings.HasPrefix(key, path+".")
	})
}

// value reads the value of one key.
func (r *fileReader) value(key, n ast.Node, path string) {
	s := setting{path: path, where: r.where(key)}
	switch node := n.(type) {
	case *ast.StringNode:
		s.form, s.text = formString, node.Value
	case *ast.LiteralNode:
		s.form, s.text = formString, node.Value.Value
	case *ast.IntegerNode:
		s.form, s.text = formInteger, node.Token.Value
	case *ast.FloatNode:
		s.form, s.text = formNumber, node.Token.Value
	case *ast.BoolNode:
		s.form, s.text = formBool, fmt.Sprint(node.Value)
	case *ast.NullNode:
		s.form = formNull
	case *ast.MappingNode, *ast.MappingValueNode:
		s.form = formSection
	case *ast.SequenceNode:
		list, ok := r.list(node, path)
		if !ok {
			return
		}
		s.form, s.list = formList, list
	default:
		r.problem(key, path, "has a value of a kind that is not taken", "write it without tags, anchors and aliases")
		return
	}
	r.settings = append(r.settings, s)
}

func (r *fileReader) list(n *ast.SequenceNode, path string) ([]string, bool) {
	list := []string{}
	for _, item := range n.Values {
		text, ok := item.(*ast.StringNode)
		if !ok {
			r.problem(item, path, "has an item that is not a string", "put it in quotes")
			return nil, false
		}
		list = append(list, text.Value)
	}
	return list, true
}
