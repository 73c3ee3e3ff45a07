// Package patroni speaks to Patroni's REST API, one Client a node, and renders
// the dynamic configuration with which a cluster begins.
//
// A node's own view is not the cluster's: /cluster is up to a loop old, and a
// switchover's answer says that it was tried, not how it ended. So the calls
// that change something return what Patroni answered, and the caller confirms
// by looking again.
//
// The renderer (BootstrapDCS) and the check of PostgreSQL settings
// (ValidateParameters) are pure. A setting reaches PostgreSQL only when
// PostgreSQL 17 knows it, its value would be accepted there, and it is not one
// on which the cluster's own promises hang: a wrong value in the dynamic
// configuration reaches every node at once, and one that PostgreSQL refuses at
// its start takes the whole cluster down.
package patroni
