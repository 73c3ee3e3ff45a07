package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"net"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs/pki"
)

// holders are those who bear a certificate of the cluster: the worker and every
// part.
func (s site) holders() []string {
	out := []string{workerName}
	for _, p := range s.parts() {
		out = append(out, p.name)
	}
	return out
}

// newCertificates issues a key and a certificate for every holder.
func newCertificates(s site, ca pki.Authority, now time.Time) (keys, error) {
	requests := []pki.CertRequest{{CommonName: workerName}}
	for _, p := range s.parts() {
		requests = append(requests, s.certificate(p))
	}
	k := keys{}
	for _, r := range requests {
		var err error
		if k[certOf(r.CommonName)], k[keyOf(r.CommonName)], err = ca.Issue(r, now); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// certificate says for whom a part's certificate is. Clients reach a node through
// the proxies, which do not end TLS, so a node's has the address that the
// proxies are bound to as well as the cluster's name.
func (s site) certificate(p part) pki.CertRequest {
	r := pki.CertRequest{
		CommonName: p.name,
		DNSNames:   []string{p.name, "localhost"},
		IPs:        []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if p.role == roleNode {
		r.DNSNames = append(r.DNSNames, nodesAlias, s.Name)
		if ip := net.ParseIP(s.spec.BindAddress); ip != nil && !ip.IsUnspecified() && !ip.IsLoopback() {
			r.IPs = append(r.IPs, ip)
		}
	}
	return r
}

// with is k with the secrets of next in the place of its own.
func (k keys) with(next map[string][]byte) keys {
	out := maps.Clone(k)
	maps.Copy(out, next)
	return out
}

// serial is the serial number of a part's certificate, as serialText writes it.
// It tells certificates apart: it is random.
func (k keys) serial(part string) (string, error) {
	cert, err := pki.Parse(k[certOf(part)])
	if err != nil {
		return "", fmt.Errorf("read the certificate of %s: %w", part, err)
	}
	return serialText(cert.SerialNumber), nil
}

func serialText(n *big.Int) string { return n.Text(16) }

// connections begins the names of the connections that are kept to a cluster:
// those which the worker made with another certificate are not used any more.
func (k keys) connections(s site) string {
	sum := sha256.Sum256(k[certOf(workerName)])
	return s.ID + " " + hex.EncodeToString(sum[:8])
}

// term is the time for which a certificate is valid.
type term struct{ from, to time.Time }

// term is that of the certificate which ends first, of all that the cluster's
// holders have.
func (k keys) term(s site) (term, error) {
	var first term
	for _, holder := range s.holders() {
		cert, err := pki.Parse(k[certOf(holder)])
		if err != nil {
			return term{}, fmt.Errorf("read the certificate of %s: %w", holder, err)
		}
		if first.to.IsZero() || cert.NotAfter.Before(first.to) {
			first = term{cert.NotBefore, cert.NotAfter}
		}
	}
	return first, nil
}
