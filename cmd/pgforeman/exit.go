package main

import (
	"errors"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// Exit codes that scripts may rely on.
const (
	exitFailed       = 1 // the operation, or the command, failed
	exitUsage        = 2 // the command line or the request is wrong
	exitNotFound     = 3
	exitNoConnection = 4
)

// codedError is an error that ends the program with a code.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// withCode gives err an exit code; nil stays nil.
func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code, err}
}

// exitCode is the exit code that an error asks for: its own, or the one that its
// place in the contract implies.
func exitCode(err error) int {
	var coded *codedError
	if errors.As(err, &coded) {
		return coded.code
	}
	var told *jobs.Error
	if errors.As(err, &told) {
		if told.Code == jobs.CodeUnknownCluster || told.Code == jobs.CodeUnknownOperation {
			return exitNotFound
		}
		if told.Code == jobs.CodeInvalid {
			return exitUsage
		}
	}
	return exitFailed
}
