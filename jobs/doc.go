// Package jobs is the contract and the vocabulary of pgforeman: what a portal
// sends (Request), what becomes of it (Operation, made of Stages of Steps), and
// what is told about it (Event, DeadLetter). Every other package speaks in its
// words; it imports the standard library alone.
//
// Three groups of types live here.
//
//   - The contract: requests, cluster specifications, events, dead letters,
//     queries and the subjects they travel on. It is versioned ("v1") and only
//     grows.
//   - The plan: Kind says what an operation does, Plan which stages and steps
//     it has for one request (pure, no I/O), StepType how one step is carried
//     out and undone.
//   - The record: Operation, StepRecord and Cluster are what the store keeps.
//     A Snapshot is one operation as a transaction sees it; the engine's rules
//     change the snapshot and the store writes what they changed, so every
//     transition is one transaction with its events.
package jobs
