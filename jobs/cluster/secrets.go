package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/pki"
)

// Names of a cluster's secrets. They are persisted: never renamed. Each part
// has <name>.pem and <name>.key beside them, each login role user.<name>.
const (
	caCert         = "ca.pem"
	caKey          = "ca.key"
	workerName     = "worker" // the worker's own certificate
	superuserPass  = "password.superuser"
	replicatorPass = "password.replicator"
	rewindPass     = "password.rewind"
	etcdRootPass   = "password.etcd-root"
	etcdPass       = "password.etcd"
)

func certOf(part string) string     { return part + ".pem" }
func keyOf(part string) string      { return part + ".key" }
func passwordOf(user string) string { return "user." + user }

// keys are a cluster's secrets, by name. Nothing of it may reach a log, an
// error or an event.
type keys map[string][]byte

// String keeps the secrets out of whatever formats a keys.
func (keys) String() string { return "(secrets)" }

// GoString does so for %#v.
func (keys) GoString() string { return "(secrets)" }

// keysOf reads what allocate stored.
func (c *Catalogue) keysOf(ctx context.Context, s site) (keys, error) {
	k, err := c.state.Secrets(ctx, s.ID)
	if err != nil {
		return nil, fmt.Errorf("read the secrets of cluster %s: %w", s.Name, err)
	}
	if len(k[caCert]) == 0 {
		return nil, fmt.Errorf("read the secrets of cluster %s: %w", s.Name, errNoSecrets)
	}
	return k, nil
}

var errNoSecrets = errors.New("none are stored: the cluster has been forgotten")

// newKeys makes all secrets of a cluster at once: they belong together, since
// every certificate is signed by the one authority.
func newKeys(s site, now time.Time) (keys, error) {
	ca, err := pki.NewAuthority(s.Name, now)
	if err != nil {
		return nil, err
	}
	k := keys{caCert: ca.CertPEM, caKey: ca.KeyPEM}
	certificates, err := newCertificates(s, ca, now)
	if err != nil {
		return nil, err
	}
	maps.Copy(k, certificates)
	for _, name := range []string{superuserPass, replicatorPass, rewindPass, etcdRootPass, etcdPass} {
		k[name] = newPassword()
	}
	for _, u := range s.users() {
		k[passwordOf(u)] = newPassword()
	}
	return k, nil
}

// newPassword has 130 random bits in letters and digits, which need no quoting
// in a file, a URI or a shell.
func newPassword() []byte { return []byte(rand.Text()) }

// users are the login roles of the cluster, the application's first.
func (s site) users() []string {
	out := []string{jobs.AppUser}
	for _, u := range s.spec.Users {
		if !slices.Contains(out, u.Name) {
			out = append(out, u.Name)
		}
	}
	return out
}

// databases are those to be made, with an owner each.
func (s site) databases() []jobs.DatabaseSpec {
	out := []jobs.DatabaseSpec{{Name: jobs.AppUser, Owner: jobs.AppUser}}
	for _, d := range s.spec.Databases {
		if d.Owner == "" {
			d.Owner = jobs.AppUser
		}
		if d.Name == jobs.AppUser {
			out[0].Owner = d.Owner
			continue
		}
		out = append(out, d)
	}
	return out
}
