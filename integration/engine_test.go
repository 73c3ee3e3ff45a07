package integration

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// docker runs the docker command, which has to succeed: what a failed one prints
// is not an answer.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryDocker(args...)
	require.NoError(t, err)
	return out
}

// tryDocker runs the docker command; the error has what it printed.
func tryDocker(args ...string) (string, error) {
	raw, err := exec.Command("docker", args...).CombinedOutput()
	out := strings.TrimSpace(string(raw))
	if err != nil {
		return "", fmt.Errorf("docker %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return out, nil
}

// leftovers lists every container, volume and network that has all of the labels
// (name=value), a line each: its kind and its name.
func leftovers(t *testing.T, labels ...string) string {
	t.Helper()
	var filters []string
	for _, label := range labels {
		filters = append(filters, "--filter", "label="+label)
	}
	var left []string
	for _, list := range [][]string{
		{"ps", "-a", "--format", "container {{.Names}}"},
		{"volume", "ls", "--format", "volume {{.Name}}"},
		{"network", "ls", "--format", "network {{.Name}}"},
	} {
		if out := docker(t, append(list, filters...)...); out != "" {
			left = append(left, out)
		}
	}
	return strings.Join(left, "\n")
}

// removeInstance removes what is left of an instance, with the containers' last
// words in the test's log.
func removeInstance(t *testing.T, instance string) {
	t.Helper()
	label := "io.pgforeman.instance=" + instance
	t.Logf("containers:\n%s", docker(t, "ps", "-a", "--filter", "label="+label))
	for line := range strings.Lines(leftovers(t, label)) { // containers come first
		kind, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		remove := []string{kind, "rm", name}
		if kind == "container" {
			last, err := tryDocker("logs", "--tail", "15", name)
			t.Logf("%s ended with (%v):\n%s", name, err, last)
			remove = []string{"rm", "-f", "-v", name}
		}
		if _, err := tryDocker(remove...); err != nil {
			t.Error(err)
		}
	}
}
