package cluster

import (
	"context"
	"errors"

	"github.com/vcs-iaas/pgforeman/jobs/etcd"
)

func (d *dialer) etcdEndpoint(ctx context.Context, s site, k keys, member string) (etcd.Endpoint, error) {
	at, err := d.address(ctx, s, member, etcdPort)
	if err != nil {
		return etcd.Endpoint{}, err
	}
	conf, err := s.tls(k, member)
	return etcd.Endpoint{Address: at, ServerName: member, TLS: conf}, err
}

// etcdEndpoints are those of the members that run; an error when none does.
func (d *dialer) etcdEndpoints(ctx context.Context, s site, k keys) ([]etcd.Endpoint, error) {
	var out []etcd.Endpoint
	var last error
	for _, m := range s.etcds() {
		e, err := d.etcdEndpoint(ctx, s, k, m)
		if err != nil {
			last = err
			continue
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		return nil, last
	}
	return out, nil
}

func (d *dialer) etcdHealth(ctx context.Context, s site, k keys, member string) (etcd.MemberHealth, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	name := k.connections(s) + " health " + member
	client, err := connection(d, name, func() (*etcd.Client, func(), error) {
		e, err := d.etcdEndpoint(ctx, s, k, member)
		if err != nil {
			return nil, nil, err
		}
		return openEtcd(etcd.Options{Members: []etcd.Endpoint{e}})
	})
	if err != nil {
		return etcd.MemberHealth{}, err
	}
	health, err := client.Health(ctx)
	if err != nil {
		d.drop(name)
	}
	return health, err
}

func (d *dialer) etcdAuth(ctx context.Context, s site, k keys) error {
	members, err := d.etcdEndpoints(ctx, s, k)
	if err != nil {
		return err
	}
	return etcd.EnsureAuth(ctx, members, etcd.Auth{
		RootPassword: string(k[etcdRootPass]),
		User:         etcdUser,
		Password:     string(k[etcdPass]),
		Prefix:       s.etcdPrefix(),
		Around:       d.change,
	})
}

func (d *dialer) leader(ctx context.Context, s site, k keys) (etcd.Leader, error) {
	return ofEtcd(ctx, d, s, k, func(ctx context.Context, c *etcd.Client) (etcd.Leader, error) {
		return c.Leader(ctx, namespace, s.ID)
	})
}

func (d *dialer) revoke(ctx context.Context, s site, k keys, seen etcd.Leader) (revoked bool, err error) {
	err = d.change("etcd revoke the leader key", func() error {
		revoked, err = ofEtcd(ctx, d, s, k, func(ctx context.Context, c *etcd.Client) (bool, error) {
			return c.RevokeLeader(ctx, namespace, s.ID, seen)
		})
		return err
	})
	return revoked, err
}

// ofEtcd asks the cluster's etcd with Patroni's rights, which the cluster's keys
// need and no more.
func ofEtcd[T any](
	ctx context.Context, d *dialer, s site, k keys, ask func(context.Context, *etcd.Client) (T, error),
) (out T, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	name := k.connections(s) + " etcd"
	client, err := connection(d, name, func() (*etcd.Client, func(), error) {
		members, err := d.etcdEndpoints(ctx, s, k)
		if err != nil {
			return nil, nil, err
		}
		return openEtcd(etcd.Options{Members: members, User: etcdUser, Password: string(k[etcdPass]), TryTimeout: questionTimeout / 3})
	})
	if err != nil {
		return out, err
	}
	out, err = ask(ctx, client)
	if err != nil && !errors.Is(err, etcd.ErrNoLeader) {
		d.drop(name)
	}
	return out, err
}

func openEtcd(o etcd.Options) (*etcd.Client, func(), error) {
	c, err := etcd.Open(o)
	if err != nil {
		return nil, nil, err
	}
	return c, func() { _ = c.Close() }, nil
}
