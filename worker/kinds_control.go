package worker

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// maxReason bounds the reason of a control request, in characters.
const maxReason = 500

// controlKinds are the kinds that act on another operation. They belong to the
// engine: a catalogue does not bring them.
func controlKinds() []jobs.Kind {
	return []jobs.Kind{
		{Name: jobs.OperationCancel, Target: jobs.AnotherOperation, Title: "cancel an operation", Decode: decodeControl},
		{Name: jobs.OperationReplay, Target: jobs.AnotherOperation, Title: "replay a dead letter", Decode: decodeControl},
		{Name: jobs.OperationDiscard, Target: jobs.AnotherOperation, Title: "discard a dead letter", Decode: decodeControl},
	}
}

// decodeControl reads the data of a control request.
func decodeControl(req jobs.Request) (json.RawMessage, error) {
	var spec jobs.ControlSpec
	faults := jobs.DecodeStrict(req.Data, &spec)
	switch {
	case req.Kind == jobs.OperationCancel && spec.DeadLetterID != "":
		faults = append(faults, jobs.Fault{Field: "dead_letter_id", Message: "a dead letter cannot be cancelled; name an operation_id, or use operation.discard"})
	case req.Kind == jobs.OperationCancel && spec.OperationID == "":
		faults = append(faults, jobs.Fault{Field: "operation_id", Message: "is missing: name the operation"})
	case (spec.OperationID == "") == (spec.DeadLetterID == ""):
		faults = append(faults, jobs.Fault{Field: "operation_id", Message: "name either an operation_id or a dead_letter_id"})
	}
	if n := utf8.RuneCountInString(spec.Reason); n > maxReason {
		faults = append(faults, jobs.Fault{Field: "reason", Message: fmt.Sprintf("has %d characters; at most %d are allowed", n, maxReason)})
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return json.Marshal(spec)
}

// control is the rule that a control request applies to its target.
func (r *rules) control(kind jobs.KindName, spec jobs.ControlSpec) Rule {
	return func(s *jobs.Snapshot) error {
		if s.Operation == nil {
			return settleUnreadable(s, kind)
		}
		if act, ok := r.controls(spec.Reason)[kind]; ok {
			return act(s)
		}
		return &jobs.Error{Code: jobs.CodeUnknownKind, Message: fmt.Sprintf("%s does not act on an operation", kind)}
	}
}

// controls are the rules of the control kinds.
func (r *rules) controls(reason string) map[jobs.KindName]Rule {
	return map[jobs.KindName]Rule{
		jobs.OperationCancel:  r.cancel(reason),
		jobs.OperationReplay:  r.replay,
		jobs.OperationDiscard: r.discard(reason),
	}
}

// settleUnreadable settles the dead letter of a message that never became an
// operation: discarded, or replayed after intake has taken it in.
func settleUnreadable(s *jobs.Snapshot, kind jobs.KindName) error {
	settled := map[jobs.KindName]jobs.DeadLetterState{
		jobs.OperationReplay: jobs.DeadReplayed, jobs.OperationDiscard: jobs.DeadDiscarded,
	}
	state, ok := settled[kind]
	if !ok {
		return &jobs.Error{Code: jobs.CodeUnknownOperation, Message: "there is no operation to act on"}
	}
	s.Settle = state
	return nil
}
