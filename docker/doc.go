// Package docker is the adapter to the Docker Engine, and the only package that imports its SDK.
//
// # What it promises
//
// Ensure, remove, observe. EnsureNetwork, EnsureVolume and EnsureContainer bring one object to the state its
// specification describes, whatever of it exists already: they may be interrupted at any point, run again and run at
// the same time by several callers. The Remove functions count "not found" as success. Everything else observes.
//
// # Whose things
//
// Labels are the inventory: whatever is made carries the labels of its specification and the instance label of the
// Engine. Lists see this instance's objects alone, and an object that is named in a call but belongs to another
// instance or another cluster is refused with ErrForeign: it is neither adopted nor changed. Two pgforemans on one
// Engine therefore never touch each other's things.
//
// # Containers
//
// A container's specification is hashed into the label io.pgforeman.spec. An existing container with the same hash
// is started when it does not run; one with another hash is stopped and replaced (its data is in named volumes).
// A container that was never started may be half-made, so its files are copied again before the start. Files travel
// over the Engine's API into volumes, never through a bind mount: the Engine may be another machine. Every container
// is hardened in the same way (see ContainerSpec) and nothing in a specification can turn that off.
//
// # Hosts
//
// An Engine is one Host's, today always Local. Specifications name their host so that what is planned for one
// machine is never made on another, and everything that is returned says on which host it is.
//
// # Errors and time
//
// Errors wrap the sentinels of errors.go; no SDK type leaves the package. Every call obeys its context and is also
// bounded by itself, so an Engine that hangs makes an ErrUnavailable instead of a step that never ends. A call that makes
// something is answered before its caller comes back, within reason (making.go).
package docker
