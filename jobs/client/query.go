package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// Query asks one of the questions in package jobs (jobs.QueryClusterGet, …) and
// decodes the answer into into. An error of pgforeman is a *jobs.Error
// (unknown_cluster, …); ErrNoWorker when nobody answers.
func (c *Client) Query(ctx context.Context, what string, q jobs.Query, into any) error {
	msg, err := c.question(what, q)
	if err != nil {
		return err
	}
	answer, err := c.ask(ctx, what, msg)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		return fmt.Errorf("read the answer to %s: %w", what, err)
	}
	return nil
}

// Credentials asks how an application connects to a cluster as user ("app" when
// empty). The answer comes sealed to a key that this call makes, so that nobody
// who sees the message can read it.
func (c *Client) Credentials(ctx context.Context, cluster, user string) (jobs.Credentials, error) {
	var creds jobs.Credentials
	own, err := nkeys.CreateCurveKeys()
	if err != nil {
		return creds, fmt.Errorf("make a key to seal the answer to: %w", err)
	}
	defer own.Wipe()
	public, err := own.PublicKey()
	if err != nil {
		return creds, fmt.Errorf("make a key to seal the answer to: %w", err)
	}
	msg, err := c.question(jobs.QueryCredentials, jobs.Query{Name: cluster, User: user})
	if err != nil {
		return creds, err
	}
	msg.Header.Set(jobs.HeaderSeal, public)
	answer, err := c.ask(ctx, jobs.QueryCredentials, msg)
	if err != nil {
		return creds, err
	}
	plain, err := own.Open(answer.Data, answer.Header.Get(jobs.HeaderSeal))
	if err != nil {
		return creds, errors.New("the answer with the credentials is not sealed to the key that was sent")
	}
	if err := json.Unmarshal(plain, &creds); err != nil {
		return creds, errors.New("the answer with the credentials cannot be read")
	}
	return creds, nil
}

func (c *Client) question(what string, q jobs.Query) (*nats.Msg, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("write the query as JSON: %w", err)
	}
	msg := nats.NewMsg(jobs.QuerySubject(c.tenant, what))
	msg.Data = body
	msg.Header.Set(jobs.HeaderActor, c.source)
	return msg, nil
}

// ask sends a question and tells an answer from an error.
func (c *Client) ask(ctx context.Context, what string, msg *nats.Msg) (*nats.Msg, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	answer, err := c.nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return nil, c.translate("ask for "+what, err)
	}
	if answer.Header.Get(jobs.HeaderErrorCode) == "" {
		return answer, nil
	}
	var failed struct {
		Error *jobs.Error `json:"error"`
	}
	if json.Unmarshal(answer.Data, &failed) != nil || failed.Error == nil {
		return nil, fmt.Errorf("ask for %s: %s", what, answer.Header.Get("Nats-Service-Error"))
	}
	return nil, failed.Error
}
