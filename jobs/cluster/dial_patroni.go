package cluster

import (
	"context"

	"github.com/vcs-iaas/pgforeman/jobs/patroni"
)

func (d *dialer) status(ctx context.Context, s site, k keys, node string) (patroni.Status, error) {
	return ofPatroni(ctx, d, s, k, node, func(ctx context.Context, c *patroni.Client) (patroni.Status, error) {
		return c.Status(ctx)
	})
}

func (d *dialer) isPrimary(ctx context.Context, s site, k keys, node string) (bool, error) {
	return ofPatroni(ctx, d, s, k, node, func(ctx context.Context, c *patroni.Client) (bool, error) {
		return c.IsPrimary(ctx)
	})
}

func (d *dialer) members(ctx context.Context, s site, k keys, node string) (patroni.Cluster, error) {
	return ofPatroni(ctx, d, s, k, node, func(ctx context.Context, c *patroni.Client) (patroni.Cluster, error) {
		return c.Cluster(ctx)
	})
}

func (d *dialer) settle(ctx context.Context, s site, k keys, node string) error {
	pace := map[string]int{"loop_wait": patroni.DefaultTiming().LoopWait}
	return d.change("patroni settle", func() error {
		_, err := ofPatroni(ctx, d, s, k, node, func(ctx context.Context, c *patroni.Client) (struct{}, error) {
			_, err := c.PatchConfig(ctx, pace)
			return struct{}{}, err
		})
		return err
	})
}

// ofPatroni asks one node's Patroni with the worker's certificate.
func ofPatroni[T any](
	ctx context.Context, d *dialer, s site, k keys, node string, ask func(context.Context, *patroni.Client) (T, error),
) (out T, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	name := k.connections(s) + " patroni " + node
	client, err := connection(d, name, func() (*patroni.Client, func(), error) {
		at, err := d.address(ctx, s, node, patroniPort)
		if err != nil {
			return nil, nil, err
		}
		conf, err := s.tls(k, node)
		if err != nil {
			return nil, nil, err
		}
		c := patroni.New(patroni.Endpoint{Address: at, ServerName: node, TLS: conf})
		return c, c.Close, nil
	})
	if err != nil {
		return out, err
	}
	out, err = ask(ctx, client)
	if err != nil {
		d.drop(name)
	}
	return out, err
}
