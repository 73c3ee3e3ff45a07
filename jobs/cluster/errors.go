package cluster

import (
	"errors"
	"fmt"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// explain gives the Engine's errors the contract's codes. What only a person
// can mend is permanent; everything else may be better at the next attempt.
func explain(err error) error {
	code, advice, retryable := jobs.Code(""), "", false
	switch {
	case err == nil:
		return nil
	case errors.Is(err, docker.ErrImageMissing):
		code, advice = jobs.CodeImageMissing, "run `pgforeman image build` on the host, then replay the operation"
	case errors.Is(err, docker.ErrNoResources):
		code, advice = jobs.CodeNoResources, "free some, or ask for less, then replay the operation"
	case errors.Is(err, docker.ErrForeign):
		code, advice = jobs.CodeStepFailed, "remove or rename what is in the way, then replay the operation"
	case errors.Is(err, docker.ErrInvalid):
		code, advice = jobs.CodeInternal, "this is a fault of pgforeman: please report it"
	case errors.Is(err, docker.ErrUnavailable):
		code, advice, retryable = jobs.CodeUnavailable, "see that Docker runs on the host", true
	default:
		return err
	}
	told := &explained{
		told: &jobs.Error{Code: code, Message: fmt.Sprintf("%v; %s", err, advice), Retryable: retryable},
		err:  err,
	}
	if retryable {
		return told
	}
	return jobs.Permanent(told)
}

// explained is an error together with what the contract tells of it.
type explained struct {
	told *jobs.Error
	err  error
}

func (e *explained) Error() string   { return e.told.Message }
func (e *explained) Unwrap() []error { return []error{e.told, e.err} }

// refusal is a permanent error of the contract.
func refusal(code jobs.Code, format string, args ...any) error {
	return jobs.Permanent(&jobs.Error{Code: code, Message: fmt.Sprintf(format, args...)})
}
