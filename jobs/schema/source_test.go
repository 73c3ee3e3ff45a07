package schema_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// source is what the schemas take from package jobs beside its types: comments
// and constants.
type source struct {
	comments  map[string]string            // of "Type" and "Type.Field"
	constants map[string]map[string]string // type → value → comment; "" for untyped
}

func readSource(t *testing.T) source {
	t.Helper()
	s := source{comments: map[string]string{}, constants: map[string]map[string]string{}}
	paths, err := filepath.Glob("../*.go")
	require.NoError(t, err)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			if g, ok := decl.(*ast.GenDecl); ok {
				s.group(g)
			}
		}
	}
	return s
}

func (s source) group(g *ast.GenDecl) {
	for _, spec := range g.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			s.comments[spec.Name.Name] = text(spec.Doc, g.Doc)
			if st, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range st.Fields.List {
					for _, name := range f.Names {
						s.comments[spec.Name.Name+"."+name.Name] = text(f.Doc, f.Comment)
					}
				}
			}
		case *ast.ValueSpec:
			if g.Tok != token.CONST || len(spec.Values) != 1 {
				continue
			}
			lit, ok := spec.Values[0].(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				continue
			}
			of := ""
			if id, ok := spec.Type.(*ast.Ident); ok {
				of = id.Name
			} else if strings.HasPrefix(spec.Names[0].Name, "Query") {
				of = "Query"
			}
			if s.constants[of] == nil {
				s.constants[of] = map[string]string{}
			}
			value, _ := strconv.Unquote(lit.Value)
			s.constants[of][value] = text(spec.Comment)
		}
	}
}

// text is the first comment that says something, on one line.
func text(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if t := strings.Join(strings.Fields(g.Text()), " "); t != "" {
			return t
		}
	}
	return ""
}
