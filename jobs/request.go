package jobs

import (
	"encoding/json"
	"time"
)

// Request is a message from a portal; (Tenant, ID) names it for ever.
type Request struct {
	Tenant  string // from the subject, the only source that is trusted
	ID      string // 1–128 characters
	Source  string
	Actor   string // who asked: the NATS identity where there is one
	Kind    KindName
	Cluster string // the CloudEvents subject
	Time    time.Time
	Data    json.RawMessage
	// Hash is a digest of what the request asks (kind, cluster, data in
	// canonical form): the same id with another hash is a conflict.
	Hash string
	// Subject, Header and Body are the message as it came.
	Subject string
	Header  map[string][]string
	Body    []byte
}

// MaxBody is the largest request read, in bytes; a larger one is rejected.
const MaxBody = 256 << 10
