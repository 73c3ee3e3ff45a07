package store

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/google/uuid"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// message is a row of the outbox to be.
type message struct {
	id      string // Nats-Msg-Id
	subject string
	body    []byte
}

// told makes the messages of drafts, in order. seq is the last one given; it
// returns the last one it gave. o is nil for facts that no operation tells, c
// where there is no cluster.
func (s *Store) told(now time.Time, o *jobs.Operation, c *jobs.Cluster, drafts []jobs.EventDraft) ([]message, error) {
	messages := make([]message, 0, len(drafts))
	for _, d := range drafts {
		data := jobs.EventData{
			Step: d.Step, Node: d.Node, Progress: d.Observation, Error: d.Error, Message: d.Message, Details: d.Details,
		}
		tenant := ""
		if c != nil {
			tenant, data.Cluster, data.ClusterID = c.Tenant, c.Name, c.ID
			if d.Type == jobs.ClusterReadyEv {
				endpoints := c.Endpoints
				data.Endpoints = &endpoints
			}
		}
		if o != nil {
			o.Seq++
			tenant, data.Cluster, data.ClusterID = o.Tenant, o.Cluster, o.ClusterID
			data.OperationID, data.RequestID, data.Kind = o.ID, o.RequestID, o.Kind
			data.Seq, data.Percent = o.Seq, o.Percent
		}
		m, err := s.event(now, tenant, d.Type, data)
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// event makes one event's message.
func (s *Store) event(now time.Time, tenant string, t jobs.EventType, data jobs.EventData) (message, error) {
	id, err := newID()
	if err != nil {
		return message{}, err
	}
	body, err := json.Marshal(jobs.Event{
		SpecVersion: "1.0", ID: id, Source: s.source, Type: jobs.EventTypeName(t), Subject: data.Cluster,
		Time: now.UTC(), ContentType: "application/json", Tenant: tenant, Data: data,
	})
	if err != nil {
		return message{}, fmt.Errorf("write event %s: %w", t, err)
	}
	return message{id: id, subject: jobs.EventSubject(token(tenant), token(data.Cluster), t), body: body}, nil
}

// newID makes an id that grows with time.
func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return id.String(), nil
}

// A subject's token as far as the contract lets it be; what comes from outside
// (the cluster's name in a rejected request) may be anything.
var safeToken = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

func token(name string) string {
	if !safeToken.MatchString(name) {
		return jobs.NoCluster
	}
	return name
}

var safeKind = regexp.MustCompile(`^[a-z_]{1,40}(\.[a-z_]{1,40}){0,3}$`)

// kindToken is the kind in the subject of a dead letter.
func kindToken(kind jobs.KindName) jobs.KindName {
	if !safeKind.MatchString(string(kind)) {
		return "unknown"
	}
	return kind
}
