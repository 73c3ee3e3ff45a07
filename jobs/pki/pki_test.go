package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs/pki"
)

func newAuthority(t *testing.T, name string, now time.Time) pki.Authority {
	t.Helper()
	a, err := pki.NewAuthority(name, now)
	require.NoError(t, err)
	return a
}

// handshake serves one connection with the server's pair, demanding a client
// certificate of ca, and says how the client and the server fared.
func handshake(t *testing.T, server tls.Certificate, ca []byte, client *tls.Config) (clientErr, serverErr error) {
	t.Helper()
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(ca))
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{server},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	})
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			done <- err
			return
		}
		_, err = io.WriteString(conn, "ok")
		done <- errors.Join(err, conn.Close())
	}()
	conn, err := tls.Dial("tcp", listener.Addr().String(), client)
	if err != nil {
		return err, <-done
	}
	// In TLS 1.3 a refused client certificate shows at the first read.
	_, err = io.ReadAll(conn)
	return errors.Join(err, conn.Close()), <-done
}

func TestHandshakes(t *testing.T) {
	now := time.Now()
	mine, other := newAuthority(t, "c1", now), newAuthority(t, "c2", now)
	certPEM, keyPEM, err := mine.Issue(pki.CertRequest{
		CommonName: "node-1", DNSNames: []string{"node-1", "nodes"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, now)
	require.NoError(t, err)
	server, err := tls.X509KeyPair(certPEM, keyPEM)
	require.NoError(t, err)
	clientCert, clientKey, err := mine.Issue(pki.CertRequest{CommonName: "worker"}, now)
	require.NoError(t, err)
	foreignCert, foreignKey, err := other.Issue(pki.CertRequest{CommonName: "worker"}, now)
	require.NoError(t, err)
	oldCert, oldKey, err := mine.Issue(pki.CertRequest{CommonName: "worker", Validity: time.Hour}, now.Add(-30*time.Minute))
	require.NoError(t, err)
	expiredCert, expiredKey, err := mine.Issue(pki.CertRequest{CommonName: "worker", Validity: time.Minute}, now.Add(-30*time.Minute))
	require.NoError(t, err)

	for name, tc := range map[string]struct {
		ca, cert, key    []byte
		serverName, fail string
	}{
		"by name":              {mine.CertPEM, clientCert, clientKey, "node-1", ""},
		"by alias":             {mine.CertPEM, clientCert, clientKey, "nodes", ""},
		"by address":           {mine.CertPEM, clientCert, clientKey, "127.0.0.1", ""},
		"not yet expired":      {mine.CertPEM, oldCert, oldKey, "nodes", ""},
		"other name":           {mine.CertPEM, clientCert, clientKey, "node-2", "not node-2"},
		"other authority":      {other.CertPEM, clientCert, clientKey, "node-1", "unknown authority"},
		"foreign client":       {mine.CertPEM, foreignCert, foreignKey, "node-1", "certificate"},
		"expired client":       {mine.CertPEM, expiredCert, expiredKey, "node-1", "certificate"},
		"no client at all":     {mine.CertPEM, nil, nil, "node-1", "certificate required"},
		"server name is empty": {mine.CertPEM, clientCert, clientKey, "", ""}, // then the address is verified
	} {
		t.Run(name, func(t *testing.T) {
			conf, err := pki.ClientTLS(tc.ca, tc.cert, tc.key, tc.serverName)
			require.NoError(t, err)
			clientErr, serverErr := handshake(t, server, mine.CertPEM, conf)
			if tc.fail == "" {
				require.NoError(t, clientErr)
				require.NoError(t, serverErr)
				return
			}
			require.ErrorContains(t, clientErr, tc.fail)
			require.Error(t, serverErr)
		})
	}
}

func TestValidity(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a := newAuthority(t, strings.Repeat("long", 40), now)
	end, err := pki.NotAfter(a.CertPEM)
	require.NoError(t, err)
	require.Equal(t, now.Add(pki.AuthorityValidity), end)

	verify := func(certPEM []byte, at time.Time) error {
		roots := x509.NewCertPool()
		require.True(t, roots.AppendCertsFromPEM(a.CertPEM))
		pair := parse(t, certPEM)
		_, err := pair.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at})
		return err
	}
	certPEM, _, err := a.Issue(pki.CertRequest{CommonName: "n"}, now)
	require.NoError(t, err)
	require.NoError(t, verify(certPEM, now.Add(-23*time.Hour)), "made by a clock that is fast, read by one that lags")
	require.NoError(t, verify(certPEM, now.Add(364*24*time.Hour)))
	require.Error(t, verify(certPEM, now.Add(366*24*time.Hour)))

	late := end.Add(-24 * time.Hour)
	certPEM, _, err = a.Issue(pki.CertRequest{CommonName: "n"}, late)
	require.NoError(t, err)
	notAfter, err := pki.NotAfter(certPEM)
	require.NoError(t, err)
	require.Equal(t, end, notAfter, "no certificate outlives its authority")

	_, _, err = a.Issue(pki.CertRequest{CommonName: "n"}, end)
	require.ErrorContains(t, err, "rotate")
}

func TestParseAuthority(t *testing.T) {
	now := time.Now()
	a, b := newAuthority(t, "a", now), newAuthority(t, "b", now)
	leafCert, leafKey, err := a.Issue(pki.CertRequest{CommonName: "n"}, now)
	require.NoError(t, err)

	again, err := pki.ParseAuthority(a.CertPEM, a.KeyPEM)
	require.NoError(t, err)
	require.Equal(t, a, again)

	_, err = pki.ParseAuthority(a.CertPEM, b.KeyPEM)
	require.ErrorIs(t, err, pki.ErrKeyMismatch)
	_, err = pki.ParseAuthority(leafCert, leafKey)
	require.ErrorContains(t, err, "no authority")
	for _, junk := range [][]byte{nil, []byte("x"), a.KeyPEM} {
		_, err = pki.ParseAuthority(junk, a.KeyPEM)
		require.Error(t, err)
		_, err = pki.NotAfter(junk)
		require.Error(t, err)
	}
	_, err = pki.ParseAuthority(a.CertPEM, a.CertPEM)
	require.Error(t, err)
	_, err = pki.ClientTLS([]byte("x"), nil, nil, "n")
	require.Error(t, err)
	_, err = pki.ClientTLS(a.CertPEM, leafCert, b.KeyPEM, "n")
	require.Error(t, err)
	_, _, err = a.Issue(pki.CertRequest{}, now)
	require.Error(t, err)
}

func parse(t *testing.T, certPEM []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(certPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return cert
}
