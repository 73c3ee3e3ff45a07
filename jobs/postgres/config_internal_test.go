package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

func TestConfigIgnoresTheEnvironment(t *testing.T) {
	for name, text := range map[string]string{
		"PGHOST": "evil", "PGPORT": "1", "PGUSER": "evil", "PGPASSWORD": "evil", "PGDATABASE": "evil", "PGSSLMODE": "disable",
		"PGAPPNAME": "evil", "PGOPTIONS": "-c search_path=evil", "PGTARGETSESSIONATTRS": "read-only",
	} {
		t.Setenv(name, text)
	}
	conf, err := config(
		Endpoint{Address: "127.0.0.1:5432", ServerName: "node-1", TLS: &tls.Config{ServerName: "other"}},
		Login{User: "postgres", Password: "p"})
	require.NoError(t, err)
	conn := conf.ConnConfig
	require.Equal(t, "127.0.0.1", conn.Host)
	require.Equal(t, uint16(5432), conn.Port)
	require.Equal(t, "postgres", conn.User)
	require.Equal(t, "p", conn.Password)
	require.Equal(t, "postgres", conn.Database)
	require.Equal(t, "node-1", conn.TLSConfig.ServerName)
	require.Empty(t, conn.Fallbacks)
	require.Nil(t, conn.ValidateConnect)
	require.Equal(t, map[string]string{"application_name": "pgforeman"}, conn.RuntimeParams)
}

func TestOpenRefuses(t *testing.T) {
	for _, address := range []string{"", "localhost", "localhost:99999", "localhost:x"} {
		_, err := Open(Endpoint{Address: address}, Login{User: "postgres"})
		require.Error(t, err)
	}
	_, err := Open(Endpoint{Address: "127.0.0.1:5432"}, Login{Password: "secret"})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
}

func TestCheckName(t *testing.T) {
	long := "a123456789b123456789c123456789d123456789e123456789f123456789g12"
	for _, name := range []string{"app", "my app", `a"b`, "Ünicode", "user", long} {
		require.NoError(t, checkName(name), name)
	}
	for _, name := range []string{"", "a\x00b", long + "3"} {
		require.Error(t, checkName(name), name)
	}
	for _, name := range []string{"postgres", "template0", "template1", "pg_monitor", "public", "none"} {
		require.ErrorIs(t, checkName(name), ErrReserved, name)
	}
	require.Equal(t, `"a"" b"`, quote(`a" b`))
}

func TestTranslate(t *testing.T) {
	for code, want := range map[string]error{
		"28P01": ErrAuth, "28000": ErrAuth, "42501": ErrAuth, "57P03": ErrNotReady, "55006": ErrNotReady, "25006": ErrReadOnly,
		"57P01": ErrUnavailable, "53300": ErrUnavailable, "08006": ErrUnavailable, "2BP01": ErrInUse,
	} {
		err := translate(context.Background(), &pgconn.PgError{Code: code})
		require.ErrorIs(t, err, want, code)
		require.True(t, isCode(err, code), "the server's own error stays inside")
	}
	require.NoError(t, translate(context.Background(), nil))
	require.ErrorIs(t, translate(context.Background(), io.ErrUnexpectedEOF), ErrUnavailable)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("the lease is lost")
	cancel(why)
	require.ErrorIs(t, translate(ctx, io.EOF), why)
}

func TestUnavailable(t *testing.T) {
	db, err := Open(Endpoint{Address: "127.0.0.1:1"}, Login{User: "postgres", Password: "secret"})
	require.NoError(t, err)
	defer db.Close()
	_, err = db.InRecovery(t.Context())
	require.ErrorIs(t, err, ErrUnavailable)
	require.NotContains(t, err.Error(), "secret")
}
