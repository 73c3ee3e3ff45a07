package etcd

import (
	"context"
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// MemberHealth is what one member says of itself.
type MemberHealth struct {
	ID        uint64
	Version   string
	IsLeader  bool // it is the leader of etcd's own members
	IsLearner bool
	DBBytes   int64
	// Alarms are conditions that stop writes: NOSPACE, CORRUPT.
	Alarms []string
}

// Health asks one member alone and proves by a linearizable read that it has
// quorum. It needs no credentials: a refusal comes after the read, so it counts
// as an answer. Errors: ErrUnavailable.
func Health(ctx context.Context, endpoint Endpoint) (MemberHealth, error) {
	client, err := Open(Options{Members: []Endpoint{endpoint}})
	if err != nil {
		return MemberHealth{}, err
	}
	defer func() { _ = client.Close() }()
	return client.Health(ctx)
}

// Health is the function of that name for the first member that answers, over
// the client's own connections: cheap enough to be asked in a loop.
func (c *Client) Health(ctx context.Context) (MemberHealth, error) {
	var health MemberHealth
	err := c.do(ctx, "check etcd", func(ctx context.Context, cl *clientv3.Client) error {
		_, err := cl.Get(ctx, "health", clientv3.WithCountOnly())
		if err != nil && !isAny(rpctypes.Error(err), rpctypes.ErrPermissionDenied, rpctypes.ErrUserEmpty) {
			return err
		}
		status, err := cl.Status(ctx, cl.Endpoints()[0])
		if err != nil {
			return err
		}
		if status.Leader == 0 {
			return rpctypes.ErrNoLeader
		}
		health = MemberHealth{
			ID: status.Header.MemberId, Version: status.Version, DBBytes: status.DbSize,
			IsLeader: status.Leader == status.Header.MemberId, IsLearner: status.IsLearner,
		}
		for _, text := range status.Errors {
			if _, alarm, ok := strings.Cut(text, "alarm:"); ok {
				health.Alarms = append(health.Alarms, strings.Trim(alarm, " "))
			}
		}
		return nil
	})
	return health, err
}

// Member is one entry of etcd's member list.
type Member struct {
	ID uint64
	// Name is empty while a member was added and has not started yet.
	Name       string
	PeerURLs   []string
	ClientURLs []string
	IsLearner  bool
}

// Members lists the members by a linearizable read.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	var members []Member
	err := c.do(ctx, "list etcd members", func(ctx context.Context, cl *clientv3.Client) error {
		list, err := cl.MemberList(ctx)
		if err != nil {
			return err
		}
		members = nil
		for _, m := range list.Members {
			members = append(members, Member{
				ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, IsLearner: m.IsLearner,
			})
		}
		return nil
	})
	return members, err
}

// CountKeys says how many keys begin with prefix. An empty prefix is refused:
// it is never what a cluster means.
func (c *Client) CountKeys(ctx context.Context, prefix string) (int64, error) {
	if prefix == "" {
		return 0, errNoPrefix
	}
	var count int64
	err := c.do(ctx, "count keys under "+prefix, func(ctx context.Context, cl *clientv3.Client) error {
		got, err := cl.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		count = got.Count
		return nil
	})
	return count, err
}

// DeletePrefix deletes all keys that begin with prefix and says how many there
// were. An empty prefix is refused.
func (c *Client) DeletePrefix(ctx context.Context, prefix string) (int64, error) {
	if prefix == "" {
		return 0, errNoPrefix
	}
	var deleted int64
	err := c.do(ctx, "delete keys under "+prefix, func(ctx context.Context, cl *clientv3.Client) error {
		got, err := cl.Delete(ctx, prefix, clientv3.WithPrefix())
		if err != nil {
			return err
		}
		deleted = got.Deleted
		return nil
	})
	return deleted, err
}

var errNoPrefix = errors.New("the prefix of etcd keys is empty")
