package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	// testName is a test as the documents name it, with a part of it or without:
	// "TestEngine", "TestEngine/nats restart".
	testName = regexp.MustCompile(`^((?:Test|Fuzz|Benchmark)[A-Z]\w*)(?:/(.+))?$`)
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
	quoted   = regexp.MustCompile("`([^`\n]+)`")
	fileName = regexp.MustCompile(`^[\w./*{},-]+/[\w.*-]+\.(go|sql|md|conf|json|sh|yaml)$`)
)

// TestDocumentsNameWhatExists reads every document: a test, a part of a test or
// a file that it names must be there, or the document promises what nobody
// checks any more.
func TestDocumentsNameWhatExists(t *testing.T) {
	tests, folders := testsOfTheTree(t)
	require.Greater(t, len(tests), 100)
	named := 0
	for _, doc := range documents(t) {
		text, err := os.ReadFile(doc)
		require.NoError(t, err)
		for _, fault := range faultsOfDocument(string(text), tests, folders, &named) {
			t.Errorf("%s: %s", doc, fault)
		}
	}
	require.Greater(t, named, 100, "hardly any test is named")

	var none int
	for text, want := range map[string]string{
		"`TestThatNobodyWrote`": "TestThatNobodyWrote", "`TestLockedByDefault/no such part`": "no part of TestLockedByDefault",
		"`TestLockedByDefault/etcd`, `/no_such_part`": "no part of TestLockedByDefault", "`worker/none.go`": "worker/none.go",
	} {
		faults := faultsOfDocument(text, tests, folders, &none)
		require.Lenf(t, faults, 1, "the search itself, of %s", text)
		require.Contains(t, faults[0], want)
	}
}

// faultsOfDocument tells what a document names and nobody has.
func faultsOfDocument(text string, tests map[string]string, folders map[string]string, named *int) []string {
	var faults []string
	for _, row := range strings.Split(text, "\n|") { // a row of a table speaks of its own tests
		faults = append(faults, faultsOfRow(row, tests, folders, named)...)
	}
	return faults
}

func faultsOfRow(text string, tests map[string]string, folders map[string]string, named *int) []string {
	var faults []string
	last := ""
	for _, q := range quoted.FindAllStringSubmatch(text, -1) {
		name := q[1]
		if strings.HasPrefix(name, "/") && last != "" {
			name = last + name // another part of the test named before
		}
		m := testName.FindStringSubmatch(strings.Trim(name, "$'"))
		switch {
		case m != nil:
			*named++
			last = m[1]
			folder, ok := tests[m[1]]
			if !ok {
				faults = append(faults, "there is no test "+m[1])
				continue
			}
			part := strings.ReplaceAll(m[2], "_", " ")
			literal := `"` + part + `"`
			if begin, several := strings.CutSuffix(part, "…"); several {
				literal = `"` + begin
			}
			if part != "" && !strings.Contains(folders[folder], literal) {
				faults = append(faults, fmt.Sprintf("no part of %s in %s is called %q", m[1], folder, part))
			}
		case fileName.MatchString(name):
			last = ""
			if found, err := filepath.Glob("../" + strings.ReplaceAll(name, "NAME", "*")); !strings.Contains(name, "{") && (err != nil || len(found) == 0) {
				faults = append(faults, "there is no file "+name)
			}
		default:
			last = ""
		}
	}
	return faults
}

// testsOfTheTree gives the folder of every test, and all that a folder's tests
// say.
func testsOfTheTree(t *testing.T) (tests map[string]string, folders map[string]string) {
	t.Helper()
	tests, folders = map[string]string{}, map[string]string{}
	walkTree(t, func(path string) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		folder := filepath.Dir(path)
		folders[folder] += string(text)
		for _, f := range testFunc.FindAllStringSubmatch(string(text), -1) {
			tests[f[1]] = folder
		}
	})
	return tests, folders
}

// documents are the texts that make promises; what changed is history.
func documents(t *testing.T) []string {
	t.Helper()
	var docs []string
	walkTree(t, func(path string) {
		if strings.HasSuffix(path, ".md") && filepath.Base(path) != "CHANGELOG.md" {
			docs = append(docs, path)
		}
	})
	for _, must := range []string{"../ARCHITECTURE.md", "../docs/security.md", "../docs/reliability.md", "../README.md"} {
		require.True(t, slices.Contains(docs, must), must)
	}
	return docs
}

func walkTree(t *testing.T, each func(path string)) {
	t.Helper()
	require.NoError(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "bin", "testdata", ".pgforeman"}, d.Name()) {
			return fs.SkipDir
		}
		if d.Type().IsRegular() {
			each(path)
		}
		return nil
	}))
}
