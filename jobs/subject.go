package jobs

import "strings"

// Prefix is the first token of every subject by default.
const Prefix = "pgforeman"

// Version is the contract's version, the second token of every subject.
const Version = "v1"

// Names of the JetStream streams and of the consumer that intake pulls from.
const (
	StreamRequests = "PGFOREMAN_REQUESTS"
	StreamEvents   = "PGFOREMAN_EVENTS"
	StreamDead     = "PGFOREMAN_DEAD"
	ConsumerIntake = "pgforeman-intake"
)

// NoCluster stands for the cluster in the subject of an event that has none.
const NoCluster = "_"

// RequestSubject is where a tenant publishes requests of a kind. Kinds have a
// dot, so the subject has six tokens: pgforeman.v1.request.<tenant>.cluster.create.
func RequestSubject(tenant string, kind KindName) string {
	return strings.Join([]string{Prefix, Version, "request", tenant, string(kind)}, ".")
}

// EventSubject is where events are published:
// pgforeman.v1.event.<tenant>.<cluster>.<type>.
func EventSubject(tenant, cluster string, t EventType) string {
	if cluster == "" {
		cluster = NoCluster
	}
	return strings.Join([]string{Prefix, Version, "event", tenant, cluster, string(t)}, ".")
}

// DeadSubject is where dead letters are published.
func DeadSubject(tenant string, kind KindName) string {
	return strings.Join([]string{Prefix, Version, "dead", tenant, string(kind)}, ".")
}

// QuerySubject is where a tenant's queries are answered; what is one of the
// Query constants.
func QuerySubject(tenant, what string) string {
	return strings.Join([]string{Prefix, Version, "query", tenant, what}, ".")
}

// WakeSubject is the core NATS subject that tells workers that there is work.
const WakeSubject = Prefix + "." + Version + ".wake"

// EventTypeName is the CloudEvents type of an event.
func EventTypeName(t EventType) string { return Prefix + "." + Version + "." + string(t) }

// RequestTypeName is the CloudEvents type of a request.
func RequestTypeName(k KindName) string { return Prefix + "." + Version + "." + string(k) }
