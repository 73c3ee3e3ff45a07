package integration

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// needles are secrets, in every form in which a text could hold them, ready to
// be looked for in very much text.
type needles struct {
	byStart map[[2]byte][]needle
	longest int
}

type needle struct{ secret, form string }

// leastSecret is the shortest that is looked for: a short one stands somewhere
// by chance.
const leastSecret = 16

func newNeedles(t *testing.T, secrets map[string]string) *needles {
	t.Helper()
	n := &needles{byStart: map[[2]byte][]needle{}}
	for name, secret := range secrets {
		require.GreaterOrEqualf(t, len(secret), leastSecret, "secret %s", name)
		for _, form := range forms(secret) {
			start := [2]byte{form[0], form[1]}
			n.byStart[start] = append(n.byStart[start], needle{name, form})
			n.longest = max(n.longest, len(form))
		}
	}
	return n
}

// forms are the secret itself, in hexadecimal, and in base64 wherever in the
// encoded text it begins.
func forms(secret string) []string {
	out := []string{secret, hex.EncodeToString([]byte(secret))}
	for shift := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + secret))
		// The characters at either end hold bits of what stands beside it.
		out = append(out, encoded[(shift*8+5)/6:(shift+len(secret))*8/6])
	}
	return out
}

// in reads everything and names the secrets found, each once.
func (n *needles) in(r io.Reader) (found []string, size int64, err error) {
	var starts [1 << 16]bool
	for s := range n.byStart {
		starts[int(s[0])<<8|int(s[1])] = true
	}
	buffer := make([]byte, 0, 1<<20)
	for {
		read, err := r.Read(buffer[len(buffer):cap(buffer)])
		size += int64(read)
		buffer = buffer[:len(buffer)+read]
		last := err != nil
		if last && !errors.Is(err, io.EOF) {
			return found, size, err
		}
		end := len(buffer) - n.longest // what comes later may belong to it
		if last {
			end = len(buffer) - 2
		}
		for i := 0; i <= end; i++ {
			if starts[int(buffer[i])<<8|int(buffer[i+1])] {
				for _, secret := range n.at(buffer[i:]) {
					if !slices.Contains(found, secret) {
						found = append(found, secret)
					}
				}
			}
		}
		if last {
			return found, size, nil
		}
		if end >= 0 {
			buffer = buffer[:copy(buffer[:cap(buffer)], buffer[end+1:])]
		}
	}
}

// at names the secrets with which the text begins.
func (n *needles) at(text []byte) (found []string) {
	for _, c := range n.byStart[[2]byte{text[0], text[1]}] {
		if len(text) >= len(c.form) && string(text[:len(c.form)]) == c.form {
			found = append(found, c.secret)
		}
	}
	return found
}

// TestNeedles tries the search itself: a search that finds nothing where the
// secret stands would prove nothing.
func TestNeedles(t *testing.T) {
	const secret = "correct-horse-battery-staple"
	n := newNeedles(t, map[string]string{"pw": secret})
	for _, around := range []string{"", "x", "xy", "xyz", strings.Repeat("x", 1<<20-10), strings.Repeat("c", 1<<20-30)} {
		for name, text := range map[string]string{
			"plain": secret, "hex": hex.EncodeToString([]byte(secret)),
			"base64": base64.StdEncoding.EncodeToString([]byte(around + secret + around)),
		} {
			found, size, err := n.in(strings.NewReader(around + text + around))
			require.NoError(t, err)
			require.Equal(t, int64(len(text)+2*len(around)), size)
			require.Equal(t, []string{"pw"}, found, fmt.Sprintf("%s after %d bytes", name, len(around)))
		}
	}
	found, _, err := n.in(strings.NewReader(strings.Repeat("correct-horse-battery-stable ", 100_000)))
	require.NoError(t, err)
	require.Empty(t, found)
}
