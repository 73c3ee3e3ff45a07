package jobs

import (
	"errors"
	"strings"
)

// Code is the stable, machine-readable name of an error in the contract.
type Code string

// The codes of contract v1.
const (
	CodeInvalid          Code = "invalid_request"     // faults in the request; all are named
	CodeConflict         Code = "request_id_conflict" // the id was seen with other content
	CodeNameTaken        Code = "name_taken"          // a cluster of that name exists
	CodeUnknownCluster   Code = "unknown_cluster"     // no cluster of that name
	CodeUnknownOperation Code = "unknown_operation"   // no operation (or dead letter) of that id
	CodeUnknownKind      Code = "unknown_kind"        // no worker knows the kind
	CodeTooLate          Code = "too_late"            // the operation has already ended
	CodeNotFailed        Code = "not_failed"          // only a failed operation is replayed or discarded
	CodeClusterBusy      Code = "cluster_busy"        // another operation of the cluster stands in the way
	CodeQuota            Code = "quota_exceeded"      // the tenant's quota; numbers in the message
	CodeUnreadable       Code = "unreadable"          // the message is not a request at all
	CodeStepFailed       Code = "step_failed"         // a step failed for good
	CodeStepTimeout      Code = "step_timeout"        // a step made no progress for its timeout
	CodeTimeout          Code = "operation_timeout"   // the operation's own time ran out
	CodeCancelled        Code = "cancelled"           // a person asked for it
	CodePortTaken        Code = "port_taken"          // a host port is in use
	CodeNoResources      Code = "no_resources"        // memory, disk or addresses are not enough
	CodeImageMissing     Code = "image_missing"       // the Engine has not the image
	CodeUnavailable      Code = "unavailable"         // Docker, etcd, Patroni, … cannot be reached
	CodeInternal         Code = "internal"            // a fault of pgforeman itself
)

// Error is an error as the contract tells it.
type Error struct {
	Code Code `json:"code"`
	// Message is written for the reader: what happened, to what, what to do.
	Message string `json:"message"`
	// Retryable says whether the same request can succeed later as it is.
	Retryable bool `json:"retryable"`
	// Faults names every fault of a rejected request.
	Faults Faults `json:"faults,omitempty"`
}

// Error is the message, with the code before it.
func (e *Error) Error() string {
	if len(e.Faults) > 0 && e.Message == "" {
		return string(e.Code) + ": " + e.Faults.Error()
	}
	return string(e.Code) + ": " + e.Message
}

// ErrorOf gives err as the contract tells it: an *Error found in its chain, or
// one with the fallback code and err's text.
func ErrorOf(err error, fallback Code) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var f Faults
	if errors.As(err, &f) {
		return &Error{Code: CodeInvalid, Message: f.Error(), Faults: f}
	}
	return &Error{Code: fallback, Message: err.Error(), Retryable: !IsPermanent(err)}
}

// Fault is one thing wrong with a request.
type Fault struct {
	// Field is the path in the data, such as "databases[1].owner"; empty for
	// the message as a whole.
	Field string `json:"field"`
	// Message says what is wrong and what is allowed.
	Message string `json:"message"`
}

// Faults is everything wrong with a request. A nil Faults is no error: return
// it through Err.
type Faults []Fault

// Error lists the faults in one line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, x := range f {
		lines[i] = x.Message
		if x.Field != "" {
			lines[i] = x.Field + ": " + x.Message
		}
	}
	return strings.Join(lines, "; ")
}

// Err is f as an error, nil when there is no fault.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Sentinels between the engine and its store.
var (
	// ErrLeaseLost: the attempt no longer holds its step; its result is void.
	ErrLeaseLost = errors.New("the lease of the step is lost")
	// ErrNotFound: no such record.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable: the state database cannot be reached; try again later.
	ErrUnavailable = errors.New("the state database is not reachable")
)
