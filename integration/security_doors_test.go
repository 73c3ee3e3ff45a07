package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs/pki"
)

// tls is a client of the cluster: with its authority, and with a certificate of
// the given name when there is one.
func (l *locked) tls(name string) *tls.Config {
	l.t.Helper()
	pool := x509.NewCertPool()
	require.True(l.t, pool.AppendCertsFromPEM(l.secrets["ca.pem"]))
	conf := &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
	if name != "" {
		pair, err := tls.X509KeyPair(l.secrets[name+".pem"], l.secrets[name+".key"])
		require.NoError(l.t, err)
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf
}

// stranger has a certificate, but of another authority.
func (l *locked) stranger() *tls.Config {
	l.t.Helper()
	other, err := pki.NewAuthority("orders", time.Now())
	require.NoError(l.t, err)
	cert, key, err := other.Issue(pki.CertRequest{CommonName: "worker", DNSNames: []string{"localhost"}}, time.Now())
	require.NoError(l.t, err)
	pair, err := tls.X509KeyPair(cert, key)
	require.NoError(l.t, err)
	conf := l.tls("")
	conf.Certificates = []tls.Certificate{pair}
	return conf
}

// old speaks nothing newer than TLS 1.1, which is offered to show that it is
// refused.
func old(conf *tls.Config) *tls.Config {
	conf.MinVersion, conf.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	return conf
}

// login connects to PostgreSQL the way it is told to.
func login(t *testing.T, uri, addr string, conf *tls.Config) error {
	t.Helper()
	cfg, err := pgx.ParseConfig(uri)
	require.NoError(t, err)
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(port), &cfg.Port))
	cfg.Host, cfg.TLSConfig, cfg.Fallbacks = host, conf, nil
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// postgresDoors tries every port behind which PostgreSQL answers: those of the
// proxies, and those of the nodes themselves.
func (l *locked) postgresDoors(t *testing.T) {
	proxy, _ := l.first("proxy")
	doors := []string{l.published(proxy, 5000), l.published(proxy, 5001)}
	for _, node := range l.p.containers(l.cluster, "node") {
		doors = append(doors, l.published(node, 5432))
	}
	uri := l.app.creds.PrimaryURI + "&target_session_attrs=any"
	uri = strings.Replace(uri, "&target_session_attrs=read-write", "", 1)
	for _, door := range doors {
		require.NoError(t, login(t, uri, door, l.tls("")), "the right authority, the right password")

		var refusal *pgconn.PgError
		require.ErrorAs(t, login(t, uri, door, nil), &refusal, "plaintext, with the right password")
		require.Equal(t, "28000", refusal.Code)
		require.Contains(t, refusal.Message, "no encryption")

		stranger := l.tls("")
		authority, err := pki.NewAuthority("orders", time.Now())
		require.NoError(t, err)
		stranger.RootCAs = x509.NewCertPool()
		require.True(t, stranger.RootCAs.AppendCertsFromPEM(authority.CertPEM))
		var unknown x509.UnknownAuthorityError
		require.ErrorAs(t, login(t, uri, door, stranger), &unknown, "another cluster's authority")

		other := l.tls("")
		other.ServerName = "db.example.org"
		var name x509.HostnameError
		require.ErrorAs(t, login(t, uri, door, other), &name, "another name than the server's")

		require.ErrorContains(t, oldPostgres(door, old(l.tls(""))), "protocol version", "TLS 1.1")

		wrong := strings.Replace(uri, l.app.creds.Password, "wrong", 1)
		require.ErrorAs(t, login(t, wrong, door, l.tls("")), &refusal, "a wrong password")
		require.Equal(t, "28P01", refusal.Code)
	}
}

// oldPostgres asks a PostgreSQL for TLS (its SSLRequest message) and begins it.
func oldPostgres(addr string, conf *tls.Config) error {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	ask := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 8), 80877103)
	if _, err := conn.Write(ask); err != nil {
		return err
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(conn, answer); err != nil || answer[0] != 'S' {
		return errors.Join(err, errors.New("the server does not begin TLS"))
	}
	return tls.Client(conn, conf).Handshake()
}

// replication looks at what PostgreSQL says of its own connections and rules.
func (l *locked) replication(t *testing.T) {
	for _, node := range l.p.containers(l.cluster, "node") {
		ask := func(sql string) string {
			return mustInside(t, node, "psql", "-U", "postgres", "-XAtc", sql)
		}
		if ask("SELECT pg_is_in_recovery()") == "f" {
			require.Equal(t, "1|t|TLSv1.3", ask(`SELECT count(*), bool_and(s.ssl), min(s.version)
				FROM pg_stat_replication r JOIN pg_stat_ssl s USING (pid) WHERE r.client_addr IS NOT NULL`))
		}
		require.Equal(t, "t", ask(`SELECT coalesce(bool_and(s.ssl), true)
			FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) WHERE a.client_addr IS NOT NULL`), "a connection without TLS")
		require.Equal(t, "", ask(`SELECT line_number, type, auth_method FROM pg_hba_file_rules
			WHERE type NOT IN ('hostssl', 'hostnossl', 'local') OR auth_method NOT IN ('scram-sha-256', 'reject', 'peer')
			   OR (auth_method = 'peer' AND type <> 'local') OR (type = 'hostnossl' AND auth_method <> 'reject')
			   OR error IS NOT NULL`), "rules of pg_hba.conf that let in more than they should")
		require.Equal(t, "", ask(`SELECT rolname FROM pg_authid
			WHERE rolpassword IS NOT NULL AND rolpassword NOT LIKE 'SCRAM-SHA-256$%'`), "passwords that are not stored as verifiers")
		require.Equal(t, "postgres", ask("SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper AND rolcanlogin"))
	}
}

// get asks for a path over HTTPS; an answer of any kind is no error.
func get(conf *tls.Config, method, url string, body []byte, header http.Header) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header = header
	transport := &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// patroniDoors tries the REST API of every node: nothing of it answers anyone
// without a certificate of the cluster, health checks included.
func (l *locked) patroniDoors(t *testing.T) {
	for _, node := range l.p.containers(l.cluster, "node") {
		addr := l.published(node, 8008)
		for _, path := range []string{
			"/", "/health", "/liveness", "/readiness", "/primary", "/leader", "/replica", "/patroni", "/cluster", "/config", "/history", "/metrics",
		} {
			_, text, err := get(l.tls(""), http.MethodGet, "https://"+addr+path, nil, nil)
			require.ErrorContainsf(t, err, "certificate required", "without a certificate %s answers %q", path, text)
		}
		for _, method := range []string{http.MethodOptions, http.MethodHead} {
			_, _, err := get(l.tls(""), method, "https://"+addr+"/primary", nil, nil)
			require.ErrorContains(t, err, "certificate required", method)
		}
		for _, path := range []string{"/restart", "/reload", "/switchover", "/failover", "/reinitialize"} {
			_, _, err := get(l.tls(""), http.MethodPost, "https://"+addr+path, []byte("{}"), nil)
			require.ErrorContains(t, err, "certificate required", path)
		}
		_, _, err := get(l.stranger(), http.MethodGet, "https://"+addr+"/liveness", nil, nil)
		require.Error(t, err, "with a certificate of another authority")
		_, _, err = get(old(l.tls("worker")), http.MethodGet, "https://"+addr+"/liveness", nil, nil)
		require.ErrorContains(t, err, "protocol version", "TLS 1.1")
		_, _, err = get(nil, http.MethodGet, "http://"+addr+"/liveness", nil, nil)
		require.Error(t, err, "plaintext")
		code, _, err := get(l.tls("worker"), http.MethodGet, "https://"+addr+"/liveness", nil, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, code, "with the worker's certificate")
	}
}

// etcdDoors tries etcd through its gateway, the way Patroni speaks to it.
func (l *locked) etcdDoors(t *testing.T) {
	member, _ := l.first("etcd")
	base := "https://" + l.published(member, 2379)
	ask := func(token, path string, body any) (int, string) {
		t.Helper()
		raw, err := json.Marshal(body)
		require.NoError(t, err)
		header := http.Header{}
		if token != "" {
			header.Set("Authorization", token)
		}
		code, text, err := get(l.tls(""), http.MethodPost, base+path, raw, header)
		require.NoError(t, err)
		return code, text
	}
	key := func(name string) string { return base64.StdEncoding.EncodeToString([]byte(name)) }
	own := "/pgforeman/" + l.id + "/"
	allKeys := map[string]any{"key": key("\x00"), "range_end": key("\x00")}

	for _, path := range []string{"/v3/kv/range", "/v3/kv/put", "/v3/kv/deleterange"} {
		code, text := ask("", path, map[string]any{"key": key(own + "leader"), "value": key("x")})
		require.NotEqualf(t, http.StatusOK, code, "%s without a login: %s", path, text)
		require.Contains(t, text, "user name is empty")
	}
	code, text := ask("", "/v3/auth/authenticate", map[string]any{"name": "patroni", "password": "wrong"})
	require.NotEqual(t, http.StatusOK, code)
	require.Contains(t, text, "authentication failed")

	code, text = ask("", "/v3/auth/authenticate", map[string]any{"name": "patroni", "password": string(l.secrets["password.etcd"])})
	require.Equal(t, http.StatusOK, code, text)
	var login struct {
		Token string `json:"token"`
	}
	require.NoError(t, json.Unmarshal([]byte(text), &login))
	code, text = ask(login.Token, "/v3/kv/range", map[string]any{"key": key(own + "leader")})
	require.Equal(t, http.StatusOK, code, text)
	require.Contains(t, text, `"count":"1"`, "Patroni's own keys")
	for what, try := range map[string]func() (int, string){
		"read everything": func() (int, string) { return ask(login.Token, "/v3/kv/range", allKeys) },
		"read its neighbour": func() (int, string) {
			return ask(login.Token, "/v3/kv/range", map[string]any{"key": key("/pgforeman/x")})
		},
		"write elsewhere": func() (int, string) {
			return ask(login.Token, "/v3/kv/put", map[string]any{"key": key("/pgforeman/x"), "value": key("x")})
		},
		"delete everything": func() (int, string) { return ask(login.Token, "/v3/kv/deleterange", allKeys) },
		"add a user": func() (int, string) {
			return ask(login.Token, "/v3/auth/user/add", map[string]any{"name": "x", "password": "x"})
		},
		"switch logins off": func() (int, string) { return ask(login.Token, "/v3/auth/disable", map[string]any{}) },
	} {
		code, text := try()
		require.Equalf(t, http.StatusForbidden, code, "Patroni's user may %s: %s", what, text)
		require.Contains(t, text, "permission denied")
	}

	_, _, err := get(old(l.tls("worker")), http.MethodGet, base+"/health", nil, nil)
	require.ErrorContains(t, err, "protocol version", "TLS 1.1")
	_, _, err = get(nil, http.MethodPost, strings.Replace(base, "https", "http", 1)+"/v3/kv/range", []byte("{}"), nil)
	require.Error(t, err, "plaintext")
}

// networkDoors tries, from a container of the cluster's own network, the ports
// that are not published.
func (l *locked) networkDoors(t *testing.T) {
	_, member := l.first("etcd")
	_, proxy := l.first("proxy")
	node, _ := l.first("node")
	const secrets = "/opt/secretpg/"
	known := []string{"--cacert", secrets + "ca.pem", "--cert", secrets + "node.pem", "--key", secrets + "node.key"}
	for _, door := range []string{member + ":2380/members", proxy + ":8404/"} {
		ask := func(args ...string) (string, error) {
			return inside(node, append([]string{"curl", "-sS", "--http1.1", "--fail", "-o", "/dev/null", "--max-time", "10"}, args...)...)
		}
		out, err := ask(append(known, "https://"+door)...)
		require.NoErrorf(t, err, "%s with a certificate of the cluster: %s", door, out)
		_, err = ask("http://" + door)
		require.Errorf(t, err, "%s over plaintext", door)
		_, err = ask("--insecure", "https://"+door)
		require.ErrorContainsf(t, err, "certificate required", "%s without a certificate", door)
	}
}
