package postgres

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzStatements looks for the name of a role or database, or a password, that
// breaks out of a statement: it is read back as PostgreSQL's scanner does, and
// nothing may stand behind it.
func FuzzStatements(f *testing.F) {
	for _, name := range []string{
		"app", `my "app"`, `"`, `""`, `"; DROP DATABASE x; --`, `a" SUPERUSER "b`, `\"`, `%s`, `%!`, "$1", "a\nb", "a--b", "/*", "é", "\xff\"", "\x00",
		strings.Repeat(`"`, 63), "pg_x", "postgres",
	} {
		f.Add(name, "secret")
	}
	f.Add("app", `'; ALTER ROLE app SUPERUSER; --`)
	f.Add("app", "é")
	verifierForm := regexp.MustCompile(`^SCRAM-SHA-256\$4096:[A-Za-z0-9+/=]{24}\$[A-Za-z0-9+/=]{44}:[A-Za-z0-9+/=]{44}$`)
	f.Fuzz(func(t *testing.T, name, password string) {
		if checkName(name) != nil {
			return
		}
		quoted := quote(name)
		got, rest := identifier(t, quoted+" LOGIN")
		require.Equal(t, name, got)
		require.Equal(t, " LOGIN", rest)
		_, rest = identifier(t, fmt.Sprintf("%s LOGIN PASSWORD %s", quoted, "'x'"))
		require.Equal(t, " LOGIN PASSWORD 'x'", rest)

		verifier, err := Verifier(password)
		if err != nil {
			require.ErrorIs(t, err, ErrPassword)
			require.NotContains(t, err.Error(), "secret")
			return
		}
		require.Regexp(t, verifierForm, verifier)
		require.True(t, matches(verifier, password))
		require.False(t, matches(verifier, password+"x"))
	})
}

// identifier reads a quoted identifier as scan.l does: a doubled quote is one,
// a single one is the end.
func identifier(t *testing.T, sql string) (name, rest string) {
	t.Helper()
	require.True(t, strings.HasPrefix(sql, `"`))
	for i := 1; i < len(sql); i++ {
		switch {
		case sql[i] != '"':
			name += sql[i : i+1]
		case i+1 < len(sql) && sql[i+1] == '"':
			name += `"`
			i++
		default:
			return name, sql[i+1:]
		}
	}
	t.Fatalf("%q does not end", sql)
	return "", ""
}
