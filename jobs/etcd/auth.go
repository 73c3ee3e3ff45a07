package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// rootName is the user and the role that etcd demands before authentication
// can be switched on.
const rootName = "root"

// Auth is what EnsureAuth makes true. Both passwords are secrets.
type Auth struct {
	RootPassword string
	// User gets a role of the same name, which reads and writes Prefix alone.
	User     string
	Password string
	// Prefix ends in a slash, e.g. /pgforeman/3f2a/.
	Prefix string
	// Around, when set, is called around every change.
	Around func(what string, change func() error) error
}

// EnsureAuth makes users and roles and switches authentication on, in an order
// in which it can be repeated after dying anywhere: switching on comes last,
// and from then on it logs in as root. A user that exists gets the password
// given here, so a second run with other passwords for User rotates it.
//
// Errors: ErrUnavailable; ErrAuth when authentication is on and RootPassword is
// not root's.
func EnsureAuth(ctx context.Context, members []Endpoint, want Auth) error {
	if want.RootPassword == "" || want.User == "" || want.User == rootName || want.Password == "" || want.Prefix == "" {
		return errors.New("set up etcd authentication: a password, the user or the prefix is missing, or the user is root")
	}
	client, err := Open(Options{Members: members, User: rootName, Password: want.RootPassword})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()

	around := want.Around
	if around == nil {
		around = func(_ string, change func() error) error { return change() }
	}
	enabled, err := client.authEnabled(ctx)
	if err != nil {
		return err
	}
	for _, s := range []struct {
		what string
		run  func(context.Context, *clientv3.Client) error
	}{
		{"add etcd role root", addRole(rootName)},
		{"add etcd user root", ensureUser(rootName, want.RootPassword, enabled)},
		{"grant etcd role root", grantRole(rootName, rootName)},
		{"add etcd role " + want.User, addRole(want.User)},
		{"grant etcd prefix " + want.Prefix, grantPrefix(want.User, want.Prefix)},
		{"add etcd user " + want.User, ensureUser(want.User, want.Password, enabled)},
		{"grant etcd role " + want.User, grantRole(want.User, want.User)},
		{"enable etcd authentication", enableAuth},
	} {
		if err := around(s.what, func() error { return client.do(ctx, s.what, s.run) }); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) authEnabled(ctx context.Context) (enabled bool, err error) {
	err = c.do(ctx, "read etcd authentication status", func(ctx context.Context, cl *clientv3.Client) error {
		status, err := cl.AuthStatus(ctx)
		if err == nil {
			enabled = status.Enabled
		}
		return err
	})
	return enabled, err
}

func addRole(role string) func(context.Context, *clientv3.Client) error {
	return func(ctx context.Context, cl *clientv3.Client) error {
		_, err := cl.RoleAdd(ctx, role)
		return except(err, rpctypes.ErrRoleAlreadyExist)
	}
}

func grantRole(user, role string) func(context.Context, *clientv3.Client) error {
	return func(ctx context.Context, cl *clientv3.Client) error {
		_, err := cl.UserGrantRole(ctx, user, role) // granting again is no error
		return err
	}
}

func grantPrefix(role, prefix string) func(context.Context, *clientv3.Client) error {
	return func(ctx context.Context, cl *clientv3.Client) error {
		_, err := cl.RoleGrantPermission(ctx, role, prefix, clientv3.GetPrefixRangeEnd(prefix),
			clientv3.PermissionType(clientv3.PermReadWrite))
		return err
	}
}

func enableAuth(ctx context.Context, cl *clientv3.Client) error {
	_, err := cl.AuthEnable(ctx) // enabling again is no error
	return err
}

// ensureUser adds the user, or gives an existing one this password. With
// authentication on, a login shows first whether that is needed: changing a
// password invalidates the sessions of everyone.
func ensureUser(name, password string, enabled bool) func(context.Context, *clientv3.Client) error {
	return func(ctx context.Context, cl *clientv3.Client) error {
		_, err := cl.UserAdd(ctx, name, password)
		if err == nil || !errors.Is(rpctypes.Error(err), rpctypes.ErrUserAlreadyExist) {
			return err
		}
		if enabled {
			_, err := cl.Authenticate(ctx, name, password)
			if err == nil || !errors.Is(rpctypes.Error(err), rpctypes.ErrAuthFailed) {
				return err
			}
		}
		if _, err = cl.UserChangePassword(ctx, name, password); err != nil {
			return fmt.Errorf("change password: %w", err)
		}
		return nil
	}
}

func except(err, accepted error) error {
	if errors.Is(rpctypes.Error(err), accepted) {
		return nil
	}
	return err
}
