package worker

import "errors"

// Why an attempt's context ended; errLost stands for jobs.ErrLeaseLost and for
// the worker's own clock saying that the lease may be lost.
var (
	errStopped = errors.New("the operation no longer wants this attempt")
	errLost    = errors.New("the lease was not renewed in time")
	errStalled = errors.New("no progress")
	errDrained = errors.New("the worker shuts down")
)
