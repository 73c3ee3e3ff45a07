// Package pki makes the certificates of one cluster: an authority that signs
// nothing but this cluster's nodes, etcd members, proxies and the worker's own
// client, and the certificates themselves.
//
// Every cluster has an authority of its own, so a key that leaks from one
// cluster opens no other. Keys are ECDSA P-256, which PostgreSQL, Python's ssl
// module, HAProxy and Go all take. Certificates are valid from one hour before
// the moment of issue, so that a container whose clock lags accepts them at
// once. A certificate is a server's and a client's at the same time: a node
// serves PostgreSQL and Patroni and calls its peers' REST API with one pair.
//
// The package keeps no state and reads no clock; the caller gives the time.
package pki
