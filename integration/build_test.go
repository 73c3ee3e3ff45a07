package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vcs-iaas/pgforeman/store/storetest"
)

// builds is the folder of the programs that the tests build.
var builds string

// TestMain removes what the tests share: the programs, and the PostgreSQL server
// of those with worker processes.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if builds, err = os.MkdirTemp("", "pgforeman-test-"); err != nil {
			fmt.Fprintln(os.Stderr, "make a folder for the programs under test:", err)
			return 1
		}
		defer func() { _ = os.RemoveAll(builds) }()
		defer storetest.Stop()
		return m.Run()
	}())
}

// build builds the program, static as it is shipped, and gives its path.
func build(name string, flags ...string) (string, error) {
	bin := filepath.Join(builds, name, "pgforeman")
	cmd := exec.Command("go", append(append([]string{"build", "-trimpath", "-o", bin}, flags...), "../cmd/pgforeman")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program (%s): %w\n%s", name, err, out)
	}
	return bin, nil
}

// buildOnce builds the program as it is, once for all tests of the package.
var buildOnce = sync.OnceValues(func() (string, error) { return build("shipped") })

// overlay is what a program is built with that differs from the source:
// replaced or added files, by their paths.
type overlay map[string]string

// build builds the program with an overlay.
func (o overlay) build(name string) (string, error) {
	dir := filepath.Join(builds, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	replace := map[string]string{}
	for path, content := range o {
		file := filepath.Join(dir, fmt.Sprintf("%d-%s", len(replace), filepath.Base(path)))
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return "", err
		}
		replace[path] = file
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	listFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(listFile, list, 0o600); err != nil {
		return "", err
	}
	return build(name, "-overlay", listFile)
}

// replaceOnce replaces the one place where old stands in a file.
func replaceOnce(path, old, with string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if n := bytes.Count(raw, []byte(old)); n != 1 {
		return "", fmt.Errorf("%q stands %d times in %s, and must stand once: adapt the test", old, n, path)
	}
	return strings.Replace(string(raw), old, with, 1), nil
}
