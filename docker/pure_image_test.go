package docker

import (
	"archive/tar"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestImageTags(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range Images() {
		require.Regexp(t, regexp.MustCompile(`^pgforeman/`+string(name)+`:[0-9a-f]{12}$`), name.Tag())
		require.Equal(t, name.Tag(), name.Tag())
		require.NotEmpty(t, name.versions())
		seen[strings.Split(name.Tag(), ":")[1]] = true
	}
	require.Len(t, seen, len(Images()), "two images have one hash")
	require.Equal(t, BaseImage, Images()[0])
}

// TestImageArchive sees that programs can be executed, that documents stay out, and
// that everything that a Dockerfile copies is there.
func TestImageArchive(t *testing.T) {
	copied := regexp.MustCompile(`(?m)^COPY (\S+) `)
	for _, name := range Images() {
		buffer, err := name.archive()
		require.NoError(t, err)
		files := map[string]int64{}
		var dockerfile string
		for archive := tar.NewReader(buffer); ; {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			files[header.Name] = header.Mode
			if header.Name == "Dockerfile" {
				text, err := io.ReadAll(archive)
				require.NoError(t, err)
				dockerfile = string(text)
			}
		}
		require.NotContains(t, files, "README.md")
		for _, match := range copied.FindAllStringSubmatch(dockerfile, -1) {
			require.Contains(t, files, match[1], "%s", name)
		}
		for version := range name.versions() {
			require.Contains(t, dockerfile, "ARG "+version+"\n")
		}
		if name != BaseImage {
			require.Equal(t, int64(0o755), files["entrypoint.sh"])
			require.Equal(t, int64(0o644), files["entry.sh"])
		}
	}
}

func TestReadStream(t *testing.T) {
	for name, test := range map[string]struct {
		stream, id, err string
		lines           []string
	}{
		"build": {
			stream: `{"stream":"Step 1/2 : FROM x\n"}{"stream":"\n"}{"aux":{"ID":"sha256:aa"}}`,
			id:     "sha256:aa", lines: []string{"Step 1/2 : FROM x"},
		},
		"import": {stream: `{"status":"sha256:bb"}`, id: "sha256:bb", lines: []string{"sha256:bb"}},
		"failure": {
			stream: `{"stream":"E: no such package\n"}{"error":"returned a non-zero code: 100","errorDetail":{}}`,
			err:    "returned a non-zero code: 100, after:\nE: no such package", lines: []string{"E: no such package"},
		},
		"cut off": {stream: `{"stream":"St`, err: "read the Engine's answer: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			id, err := readStream(strings.NewReader(test.stream), func(line string) { lines = append(lines, line) })
			if test.err != "" {
				require.EqualError(t, err, test.err)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, test.id, id)
			require.Equal(t, test.lines, lines)
		})
	}
}

func TestSourceLines(t *testing.T) {
	require.Equal(t, []string{
		"deb http://mirror/debian/ trixie main",
		"deb http://mirror/debian/ trixie-updates main",
		"deb https://mirror/security/ trixie-security main",
	}, sourceLines("Debian|http://mirror/debian/\nnodesource|https://node/\nDebian|http://other/\nDebian-Security|https://mirror/security/\n"))
	require.Empty(t, sourceLines("Debian|http://mirror/debian/\n"), "without security updates the public mirrors are better")
	require.Empty(t, sourceLines("Debian|file:/media/cdrom/\nDebian-Security|http://mirror/security/\n"))
	require.Empty(t, sourceLines("Ubuntu|http://mirror/ubuntu/\n"))
}
