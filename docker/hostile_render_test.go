package docker

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

//go:embed testdata/hostile/harness.py
var hostileHarness string

// hostile are texts that mean something to one of those that read configuration:
// YAML, JSON, a shell, a .pgpass, postgresql.conf, a template, a log.
var hostile = []string{
	"a", "node-1", "a.b_c-D9", strings.Repeat("x", 63), strings.Repeat("x", 64), "-x", ".x", "_x", "--force-new-cluster",
	"~", "null", "true", "no", "0x10", "1e3", "2026-01-31", "=", "<<", "*a", "&a", "!!python/object/apply:os.system [id]", "!x",
	"{a: b}", "[a, b]", "a: b", "a #b", "# a", "- a", "? a", "| a", "> a", "%YAML 1.1", "---", "...", "@x", "`id`", "$(id)", "${HOME}", "$HOME",
	"a;id", "a|id", "a&&id", "a>b", "*", "?", "[a]", "{a,b}", `\`, `\\`, `a\`, `'`, `''`, `a'b`, `"`, `a"b`, `'; DROP TABLE x; --`, `\'; x`,
	":", "a:b", `a\:b`, ",", "a,b,", "{{.X}}", "{% x %}", "%s%n", "%(x)s", "a b", " a", "a ", "\ta", "a\tb", "\n", "a\nb", "a\n", "\nb: c", "a\r\nb", "a\rb",
	"\x01", "\x1b[31m", "\x7f", "\u0085", "a\u0085b", "\u2028", "a\u2029b", "\ufeff", "a\ufeffb", "\u200b", "\u202e", "é", "日本", "😀", "\ufffd", "",
}

// hostileValues are those, and mixtures of them.
func hostileValues() []string {
	values := append([]string(nil), hostile...)
	random := rand.New(rand.NewPCG(1, 2))
	for range 250 {
		var mixed strings.Builder
		for range 1 + random.IntN(4) {
			mixed.WriteString(hostile[random.IntN(len(hostile))])
		}
		values = append(values, mixed.String())
	}
	return values
}

// TestHostileValuesRender puts every hostile value wherever a value from outside
// goes in the node's image, and reads back what the image made of it: the value
// is a value still, and nothing beside it has changed. What the entrypoints'
// check lets through is made of harmless characters alone.
func TestHostileValuesRender(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a container")
	}
	t.Parallel()
	require.NoError(t, testEngine(t).BuildImages(t.Context(), nil))
	values := hostileValues()
	input, err := json.Marshal(map[string]any{"values": values})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", "run", "--rm", "-i", "--label", "io.pgforeman.instance="+unique("hostile"),
		"--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--entrypoint", "python3",
		PatroniImage.Tag(), "-I", "-c", hostileHarness)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &errs
	out, err := cmd.Output()
	require.NoErrorf(t, err, "%s", &errs)
	var seen struct{ Shell, Faults []string }
	require.NoError(t, json.Unmarshal(out, &seen))
	require.Empty(t, seen.Faults)

	harmless := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	var want []string
	for _, value := range values {
		if harmless.MatchString(value) {
			want = append(want, value)
		}
	}
	require.Equal(t, want, seen.Shell)
}
