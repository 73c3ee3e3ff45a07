// Package integration tests the whole program as its users run it: the built
// binary, its embedded NATS JetStream, its state database in a container, real
// clusters on the real Docker Engine. A test speaks to it as a portal does
// (JetStream messages), as an operator does (the command line) and as an
// application does (PostgreSQL on the published ports); it looks into Docker
// with the docker command. Nothing of the program's own packages is called but
// the contract's types, and the servers that tests of other packages use too.
//
// Most tests run "pgforeman dev" (startProgram); those about several workers, or
// about what stands between a worker and its servers, run "pgforeman worker"
// processes on a site (newSite).
//
// Every program under test has a state folder, ports and an instance name of
// its own, so tests can run beside each other and beside a developer's own
// "pgforeman dev". At its end each asserts that nothing labelled with its
// instance is left on the Engine.
package integration
