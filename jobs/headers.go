package jobs

// Headers of queries and their answers.
const (
	// HeaderSeal of the query cluster.credentials is a public curve key (X…,
	// nkeys): the answer is sealed to it, and has in the same header the
	// public key to open it with.
	HeaderSeal = "Pgforeman-Seal"
	// HeaderActor says who asks, for the audit; it is not checked.
	HeaderActor = "Pgforeman-Actor"
	// HeaderErrorCode is in answers that are errors, {"error": …}, and in no
	// others. The name is that of NATS micro services.
	HeaderErrorCode = "Nats-Service-Error-Code"
)
