package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"time"
)

// CertRequest says for whom a certificate is.
type CertRequest struct {
	// CommonName names the holder for people; nothing is verified against it.
	CommonName string
	// DNSNames and IPs are the names under which the holder is reached. A
	// client that is never called may have none.
	DNSNames []string
	IPs      []net.IP
	// Validity counts from now; 0 means CertificateValidity.
	Validity time.Duration
}

// Issue makes a key and a certificate for it, valid as server and as client.
// The certificate never outlives the authority. The key is a secret.
func (a Authority) Issue(req CertRequest, now time.Time) (certPEM, keyPEM []byte, err error) {
	ca, caKey, err := a.parse()
	if err != nil {
		return nil, nil, err
	}
	template, err := leaf(req, ca, now)
	if err != nil {
		return nil, nil, fmt.Errorf("issue certificate for %q: %w", req.CommonName, err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate key for %q: %w", req.CommonName, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, nil, fmt.Errorf("sign certificate for %q: %w", req.CommonName, err)
	}
	keyPEM, err = encodeKey(key)
	if err != nil {
		return nil, nil, err
	}
	return encodeCert(der), keyPEM, nil
}

func leaf(req CertRequest, ca *x509.Certificate, now time.Time) (*x509.Certificate, error) {
	if req.CommonName == "" {
		return nil, errors.New("the common name is empty")
	}
	if req.Validity < 0 {
		return nil, fmt.Errorf("validity %s is negative", req.Validity)
	}
	if !now.Before(ca.NotAfter) {
		return nil, fmt.Errorf("the authority expired on %s; rotate it first", ca.NotAfter.Format(time.RFC3339))
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	validity := req.Validity
	if validity == 0 {
		validity = CertificateValidity
	}
	notBefore, notAfter := now.Add(-ClockSkew), now.Add(validity)
	if notBefore.Before(ca.NotBefore) {
		notBefore = ca.NotBefore
	}
	if notAfter.After(ca.NotAfter) {
		notAfter = ca.NotAfter
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"pgforeman"}, CommonName: commonName(req.CommonName)},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		DNSNames:              req.DNSNames,
		IPAddresses:           req.IPs,
	}, nil
}

// NotAfter is the moment at which the first certificate in the PEM expires.
func NotAfter(certPEM []byte) (time.Time, error) {
	cert, err := Parse(certPEM)
	if err != nil {
		return time.Time{}, err
	}
	return cert.NotAfter, nil
}

// Parse reads the first certificate in the PEM.
func Parse(certPEM []byte) (*x509.Certificate, error) {
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	return cert, nil
}

const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY" // PKCS #8, the form that all four servers read
)

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

func parseCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != certBlock {
		return nil, errors.New("no certificate in the PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != keyBlock {
		return nil, errors.New("no PKCS #8 private key in the PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("private key is a %T, not ECDSA", parsed)
	}
	return key, nil
}
