package patroni

import (
	"context"
	"encoding/json"
	"net/http"
)

// Config reads the dynamic configuration as Patroni has it in etcd.
func (c *Client) Config(ctx context.Context) (json.RawMessage, error) {
	var config json.RawMessage
	err := c.ask(ctx, http.MethodGet, "/config", nil, &config)
	return config, err
}

// PatchConfig merges change into the dynamic configuration; null deletes a key.
// It returns the whole configuration afterwards. The nodes take it over at their
// next loop. Never put a secret in it: Patroni shows it to whoever asks.
func (c *Client) PatchConfig(ctx context.Context, change any) (json.RawMessage, error) {
	var config json.RawMessage
	err := c.ask(ctx, http.MethodPatch, "/config", change, &config)
	return config, err
}

// Answer is what Patroni said to a demand that takes time.
type Answer struct {
	// Code is 200 for done, 202 for taken on.
	Code int
	Text string
}

// Switchover asks for an orderly change of the leader. candidate may be empty.
// Patroni answers when it is over or after some loops. The answer is not the
// outcome: 200 can name another candidate, and a *StatusError with 503 can come
// while it still goes on. Confirm in Cluster. 412 means that leader does not
// lead or the candidate is not fit.
func (c *Client) Switchover(ctx context.Context, leader, candidate string) (Answer, error) {
	body := map[string]string{"leader": leader}
	if candidate != "" {
		body["candidate"] = candidate
	}
	return c.demand(ctx, "/switchover", body)
}

// Failover makes candidate the leader although there may be none, or it may be
// behind: acknowledged rows can be lost.
func (c *Client) Failover(ctx context.Context, candidate string) (Answer, error) {
	return c.demand(ctx, "/failover", map[string]string{"candidate": candidate})
}

// Restart restarts PostgreSQL on this node and waits for it. onlyPending leaves
// it alone when no setting waits for a restart (503 then). 409 means that a
// restart is under way.
func (c *Client) Restart(ctx context.Context, onlyPending bool) (Answer, error) {
	body := map[string]any{}
	if onlyPending {
		body["restart_pending"] = true
	}
	return c.demand(ctx, "/restart", body)
}

// Reinitialize wipes this replica's data and copies it anew. 200 says that it
// has begun. 503 means that the node leads, or that another one is under way;
// force cancels that one.
func (c *Client) Reinitialize(ctx context.Context, force bool) (Answer, error) {
	return c.demand(ctx, "/reinitialize", map[string]bool{"force": force})
}

// Reload makes the node read its configuration file again: certificates and
// passwords after they were rotated.
func (c *Client) Reload(ctx context.Context) (Answer, error) {
	return c.demand(ctx, "/reload", nil)
}

// demand posts and takes as long as ctx allows.
func (c *Client) demand(ctx context.Context, path string, in any) (Answer, error) {
	code, body, err := c.send(ctx, ctx, http.MethodPost, path, in)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Code: code, Text: shorten(body)}, nil
}
