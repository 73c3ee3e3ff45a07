package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// Request is what is asked of pgforeman.
type Request struct {
	Kind jobs.KindName
	// Cluster is the cluster's name; empty for control requests.
	Cluster string
	// Data is the kind's specification, marshalled to JSON; nil for none.
	Data any
	// ID names the request for ever: publish it again with the same id
	// whenever you are unsure. A new one when empty.
	ID string
}

// Receipt says that JetStream keeps the request.
type Receipt struct {
	RequestID string
	Kind      jobs.KindName
	Cluster   string
	// Duplicate: the same request was published within the last two minutes.
	Duplicate bool
	// mark is the last event told before the publication; 0 where the id is
	// new, so that nothing can have been told of it.
	mark uint64
}

// Target is what to watch to see what becomes of the request.
func (r Receipt) Target() Target {
	return Target{RequestID: r.RequestID, Cluster: r.Cluster, mark: r.mark}
}

// NewRequestID makes an id that no other request has.
func NewRequestID() string {
	id, err := uuid.NewV7()
	if err != nil {
		id = uuid.New()
	}
	return id.String()
}

// Publish publishes a request and waits until JetStream keeps it. After an
// error it is not known whether it does: publish again with the same id.
func (c *Client) Publish(ctx context.Context, r Request) (Receipt, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	receipt := Receipt{RequestID: r.ID, Kind: r.Kind, Cluster: r.Cluster}
	if r.ID == "" {
		receipt.RequestID = NewRequestID()
	} else {
		receipt.mark = c.lastEvent(ctx)
	}
	msg, err := c.message(r, receipt.RequestID)
	if err != nil {
		return receipt, err
	}
	ack, err := c.js.PublishMsg(ctx, msg)
	if err != nil {
		return receipt, c.translate("publish the request", err)
	}
	receipt.Duplicate = ack.Duplicate
	return receipt, nil
}

// message is the request as a CloudEvent. Nats-Msg-Id has a digest of the
// content: JetStream drops what is really the same, and lets a request with a
// used id and other content through to be rejected.
func (c *Client) message(r Request, id string) (*nats.Msg, error) {
	data := r.Data
	if data == nil {
		data = struct{}{}
	}
	content, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("write the request's data as JSON: %w", err)
	}
	body, err := json.Marshal(struct {
		SpecVersion string          `json:"specversion"`
		ID          string          `json:"id"`
		Source      string          `json:"source"`
		Type        string          `json:"type"`
		Subject     string          `json:"subject,omitempty"`
		Time        time.Time       `json:"time"`
		ContentType string          `json:"datacontenttype"`
		Data        json.RawMessage `json:"data"`
	}{"1.0", id, c.source, jobs.RequestTypeName(r.Kind), r.Cluster, time.Now().UTC(), "application/json", content})
	if err != nil {
		return nil, fmt.Errorf("write the request as JSON: %w", err)
	}
	digest := sha256.Sum256([]byte(string(r.Kind) + "\x00" + r.Cluster + "\x00" + string(content)))
	msg := nats.NewMsg(jobs.RequestSubject(c.tenant, r.Kind))
	msg.Data = body
	msg.Header.Set(nats.MsgIdHdr, c.tenant+"/"+url.PathEscape(id)+"/"+hex.EncodeToString(digest[:8]))
	return msg, nil
}

// lastEvent is the sequence of the last event in the stream; 0 when it cannot
// be told.
func (c *Client) lastEvent(ctx context.Context) uint64 {
	stream, err := c.js.Stream(ctx, jobs.StreamEvents)
	if err != nil {
		return 0
	}
	return stream.CachedInfo().State.LastSeq
}
