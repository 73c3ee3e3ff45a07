package cluster

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// Credentials is how an application connects as user (jobs.AppUser when empty).
// Errors: a *jobs.Error with unknown_cluster when the cluster is gone or not yet
// prepared, invalid_request for a user it does not have.
//
// The URIs ask for TLS without naming a certificate file, which no one but the
// client knows, so that they work as they are. To have the server's identity
// checked too, save CAPEM and add sslmode=verify-full&sslrootcert=FILE.
func (c *Catalogue) Credentials(ctx context.Context, cluster jobs.Cluster, user string) (jobs.Credentials, error) {
	user = cmp.Or(user, jobs.AppUser)
	s, err := siteOf(cluster)
	if err != nil {
		return jobs.Credentials{}, err
	}
	if !slices.Contains(s.users(), user) {
		return jobs.Credentials{}, &jobs.Error{
			Code: jobs.CodeInvalid, Message: "cluster " + s.Name + " has no user " + strconv.Quote(user) + "; it has " + strings.Join(s.users(), ", "),
		}
	}
	if cluster.State == jobs.ClusterDeleting || cluster.State == jobs.ClusterDeleted {
		return jobs.Credentials{}, &jobs.Error{Code: jobs.CodeUnknownCluster, Message: "cluster " + s.Name + " is being deleted"}
	}
	k, err := c.keysOf(ctx, s)
	if errors.Is(err, errNoSecrets) {
		return jobs.Credentials{}, &jobs.Error{
			Code: jobs.CodeUnavailable, Message: "cluster " + s.Name + " has no passwords yet; ask again when it is ready", Retryable: true,
		}
	}
	if err != nil {
		return jobs.Credentials{}, err
	}
	ports, err := c.hostPorts(ctx, s)
	if err != nil {
		return jobs.Credentials{}, err
	}
	database := s.databaseOf(user)
	password := string(k[passwordOf(user)])
	uri := func(access string, purpose func(proxy string) string) string {
		hosts := make([]string, 0, s.spec.Proxies)
		for _, proxy := range s.proxies() {
			hosts = append(hosts, net.JoinHostPort(s.dialAddress(), strconv.Itoa(ports[purpose(proxy)])))
		}
		return "postgres://" + url.UserPassword(user, password).String() + "@" + strings.Join(hosts, ",") +
			"/" + url.PathEscape(database) + "?sslmode=require" + access
	}
	return jobs.Credentials{
		Username: user, Password: password, Database: database, CAPEM: string(k[caCert]),
		PrimaryURI: uri("&target_session_attrs=read-write", func(proxy string) string { primary, _ := s.purposes(proxy); return primary }),
		ReplicaURI: uri("", func(proxy string) string { _, replica := s.purposes(proxy); return replica }),
	}, nil
}

// databaseOf is the first database that a user owns, else the application's.
func (s site) databaseOf(user string) string {
	for _, d := range s.databases() {
		if d.Owner == user {
			return d.Name
		}
	}
	return jobs.AppUser
}
