package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Lifetimes. The authority outlives every certificate it signs: Issue cuts a
// certificate's end to the authority's.
const (
	// AuthorityValidity is how long a cluster's authority lives.
	AuthorityValidity = 10 * 365 * 24 * time.Hour
	// CertificateValidity is how long a certificate lives when the request names no time.
	CertificateValidity = 365 * 24 * time.Hour
	// ClockSkew is how far before the moment of issue a certificate begins to be
	// valid: who made it and who checks it may both have a clock that is wrong by
	// hours, or by a time zone, one fast and the other slow.
	ClockSkew = 24 * time.Hour
)

// ErrKeyMismatch says that a private key does not belong to its certificate.
var ErrKeyMismatch = errors.New("private key does not belong to the certificate")

// Authority is a cluster's certificate authority. KeyPEM is a secret: it is
// kept encrypted and never enters a container.
type Authority struct {
	CertPEM []byte
	KeyPEM  []byte
}

// NewAuthority makes the authority of the cluster name (which becomes the
// common name, shortened to the 64 characters that X.509 allows).
func NewAuthority(name string, now time.Time) (Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Authority{}, fmt.Errorf("generate authority key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return Authority{}, err
	}
	keyID, err := subjectKeyID(&key.PublicKey)
	if err != nil {
		return Authority{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"pgforeman"}, CommonName: commonName("pgforeman " + name)},
		NotBefore:             now.Add(-ClockSkew),
		NotAfter:              now.Add(AuthorityValidity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true, // it signs leaves, never another authority
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId:          keyID,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return Authority{}, fmt.Errorf("sign authority of %q: %w", name, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return Authority{}, err
	}
	return Authority{CertPEM: encodeCert(der), KeyPEM: keyPEM}, nil
}

// ParseAuthority checks that the two belong together and that the certificate
// may sign. Errors: ErrKeyMismatch, or what is wrong with the PEM.
func ParseAuthority(certPEM, keyPEM []byte) (Authority, error) {
	a := Authority{CertPEM: certPEM, KeyPEM: keyPEM}
	if _, _, err := a.parse(); err != nil {
		return Authority{}, err
	}
	return a, nil
}

func (a Authority) parse() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	cert, err := parseCert(a.CertPEM)
	if err != nil {
		return nil, nil, fmt.Errorf("parse authority certificate: %w", err)
	}
	key, err := parseKey(a.KeyPEM)
	if err != nil {
		return nil, nil, fmt.Errorf("parse authority key: %w", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, fmt.Errorf("authority %q: %w", cert.Subject.CommonName, ErrKeyMismatch)
	}
	if !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, nil, fmt.Errorf("certificate %q is no authority: it may not sign", cert.Subject.CommonName)
	}
	return cert, key, nil
}

// TLSVersion is the oldest protocol version that ClientTLS speaks.
const TLSVersion = tls.VersionTLS12

// ClientTLS is the configuration with which the worker reaches a server of the
// cluster: it trusts caPEM alone and demands serverName, whatever address is
// dialled. certPEM and keyPEM are its own certificate and may both be empty.
func ClientTLS(caPEM, certPEM, keyPEM []byte, serverName string) (*tls.Config, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caPEM) {
		return nil, errors.New("parse authority certificate: no certificate in the PEM")
	}
	conf := &tls.Config{MinVersion: TLSVersion, RootCAs: roots, ServerName: serverName}
	if len(certPEM) == 0 && len(keyPEM) == 0 {
		return conf, nil
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("parse client certificate: %w", err)
	}
	conf.Certificates = []tls.Certificate{pair}
	return conf, nil
}

func newSerial() (*big.Int, error) {
	// 127 random bits: RFC 5280 allows 20 octets and wants a positive number.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("generate serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil
}

func subjectKeyID(key *ecdsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return sum[:20], nil
}

// commonName cuts a name to ub-common-name, 64 characters (RFC 5280, A.1).
func commonName(name string) string {
	runes := []rune(name)
	if len(runes) > 64 {
		runes = runes[:64]
	}
	return string(runes)
}
