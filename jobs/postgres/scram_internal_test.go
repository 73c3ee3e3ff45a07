package postgres

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The example of RFC 7677, section 3: its client proof and server signature were
// made from these keys.
func TestVerifierRFC7677(t *testing.T) {
	salt, err := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	require.NoError(t, err)
	got, err := verifier("pencil", salt, 4096)
	require.NoError(t, err)
	require.Equal(t, "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"+
		"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=", got)
}

func TestVerifier(t *testing.T) {
	one, err := Verifier("secret")
	require.NoError(t, err)
	two, err := Verifier("secret")
	require.NoError(t, err)
	require.NotEqual(t, one, two, "salted")
	require.NotContains(t, one, "secret")

	require.True(t, matches(one, "secret"))
	require.False(t, matches(one, "Secret"))
	for _, junk := range []string{"", "md5abc", "SCRAM-SHA-256$", "SCRAM-SHA-256$x:y$z:a", strings.Replace(one, "4096", "9999999999", 1)} {
		require.False(t, matches(junk, "secret"))
	}
	for _, password := range []string{"", "pässword", "a\nb", "a\x00b", "a\x7fb"} {
		_, err = Verifier(password)
		require.ErrorIs(t, err, ErrPassword)
		require.False(t, matches(one, password))
	}
}
