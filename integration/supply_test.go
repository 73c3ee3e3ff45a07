package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	usesAction = regexp.MustCompile(`(?m)^\s*(?:- )?uses:\s*(\S+)(.*)$`)
	byCommit   = regexp.MustCompile(`^[\w-]+/[\w./-]+@[0-9a-f]{40}$`)
	fromImage  = regexp.MustCompile(`(?m)^FROM\s+(\S+)`)
	aptPackage = regexp.MustCompile(`"?([a-z0-9.+-]+)(=\$\{[A-Z_]+\})?"?`)
)

// unpinned are the packages that are taken as the suite has them: certificates
// of authorities are of use only when they are new, and python3-etcd is one of
// Patroni's.
var unpinned = []string{"ca-certificates", "python3-etcd"}

// TestTheSupplyIsPinned reads everything that fetches something: actions by
// commit, images by a tag that is not "latest", Debian's packages and Go's tools
// by version.
func TestTheSupplyIsPinned(t *testing.T) {
	workflows, err := filepath.Glob("../.github/workflows/*.yml")
	require.NoError(t, err)
	require.NotEmpty(t, workflows)
	actions := 0
	for _, w := range workflows {
		for _, m := range usesAction.FindAllStringSubmatch(read(t, w), -1) {
			actions++
			require.Regexpf(t, byCommit, m[1], "%s: an action that is not fixed to a commit", w)
			require.Containsf(t, m[2], "# v", "%s: which version is %s?", w, m[1])
		}
		require.Contains(t, read(t, w), "permissions:\n  contents: read", "%s may do more than read", w)
	}
	require.Greater(t, actions, 3)

	for _, file := range []string{"../Makefile", "../.ci/run", "../.ci/generated", "../.tools/go.mod", "../go.mod"} {
		require.NotContains(t, read(t, file), "@latest", file)
		require.NotContains(t, read(t, file), ":latest", file)
	}
	dockerfiles, err := filepath.Glob("../docker/*/Dockerfile")
	require.NoError(t, err)
	require.Len(t, dockerfiles, 4)
	packages := 0
	for _, d := range append(dockerfiles, "../deployments/worker/Dockerfile") {
		text := read(t, d)
		for _, m := range fromImage.FindAllStringSubmatch(text, -1) {
			require.NotContains(t, m[1], "latest", d)
			require.Truef(t, strings.ContainsAny(m[1], ":$") || m[1] == "scratch", "%s: image %s has no tag", d, m[1])
		}
		for _, install := range strings.Split(text, "apt-get install")[1:] {
			list, _, _ := strings.Cut(install, "&&")
			list, _, _ = strings.Cut(list, ";")
			for _, word := range strings.Fields(list) {
				m := aptPackage.FindStringSubmatch(word)
				if strings.HasPrefix(word, "-") || word == "\\" || m == nil {
					continue
				}
				packages++
				if m[2] == "" {
					require.Containsf(t, unpinned, m[1], "%s: package %s has no version", d, m[1])
				}
			}
		}
	}
	require.Greater(t, packages, 7)
	require.Regexp(t, `(?m)^USER 65532:65532$`, read(t, "../deployments/worker/Dockerfile"))
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(raw)
}
