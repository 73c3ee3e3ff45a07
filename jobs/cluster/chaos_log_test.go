package cluster

import (
	"context"
	"time"
)

// observer is the name under which the simulation's own connections to the
// database are spared when all others are cut.
const observer = "chaos-observer"

// observers are triggers that write down every change of an operation, every
// change of a step, and every message: in the transaction that makes it, so that
// nothing is missed and nothing is seen that was rolled back.
const observers = `
CREATE TABLE chaos_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), what text NOT NULL,
    operation uuid, cluster uuid, tenant text, kind text, arrival bigint, step bigint, name text, stage int, was text, state text,
    attempt_was int, attempt int, lease_over boolean, undoing_was boolean, undoing boolean, msg_id text, subject text);
CREATE FUNCTION chaos_operation() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos_log (what, operation, cluster, tenant, kind, arrival, was, state)
    VALUES ('operation', NEW.id, NEW.cluster_id, NEW.tenant, NEW.kind, NEW.arrival,
        CASE WHEN TG_OP = 'UPDATE' THEN OLD.state ELSE '' END, NEW.state);
    RETURN NULL; END $$;
CREATE TRIGGER chaos_insert AFTER INSERT ON operations FOR EACH ROW EXECUTE FUNCTION chaos_operation();
CREATE TRIGGER chaos_update AFTER UPDATE ON operations FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION chaos_operation();
CREATE FUNCTION chaos_step() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos_log (what, operation, step, name, stage, was, state, attempt_was, attempt, lease_over, undoing_was, undoing)
    VALUES ('step', NEW.operation_id, NEW.id, NEW.name || CASE NEW.node WHEN '' THEN '' ELSE ' ' || NEW.node END, NEW.stage,
        CASE WHEN TG_OP = 'UPDATE' THEN OLD.state ELSE '' END, NEW.state,
        CASE WHEN TG_OP = 'UPDATE' THEN OLD.attempt ELSE 0 END, NEW.attempt,
        TG_OP = 'UPDATE' AND OLD.lease_until < clock_timestamp(), TG_OP = 'UPDATE' AND OLD.undoing, NEW.undoing);
    RETURN NULL; END $$;
CREATE TRIGGER chaos_insert AFTER INSERT ON steps FOR EACH ROW EXECUTE FUNCTION chaos_step();
CREATE TRIGGER chaos_update AFTER UPDATE ON steps FOR EACH ROW
    WHEN (OLD.state <> NEW.state OR OLD.attempt <> NEW.attempt) EXECUTE FUNCTION chaos_step();
CREATE FUNCTION chaos_outbox() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos_log (what, msg_id, subject) VALUES ('message', NEW.msg_id, NEW.subject);
    RETURN NULL; END $$;
CREATE TRIGGER chaos_insert AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION chaos_outbox();`

// change is a line of the log.
type change struct {
	At                         time.Time
	What                       string
	Operation, Cluster, Tenant string
	Kind                       string
	Arrival, Step              int64
	Name                       string
	Stage                      int
	Was, State                 string
	AttemptWas, Attempt        int
	LeaseOver                  bool // the lease that was taken over had run out
	UndoingWas, Undoing        bool
	MsgID, Subject             string
}

func (s *sim) changes(ctx context.Context) ([]change, error) {
	rows, err := s.watch.Query(ctx, `SELECT at, what, coalesce(operation::text, ''), coalesce(cluster::text, ''), coalesce(tenant, ''),
		coalesce(kind, ''), coalesce(arrival, 0), coalesce(step, 0), coalesce(name, ''), coalesce(stage, 0), coalesce(was, ''), coalesce(state, ''),
		coalesce(attempt_was, 0), coalesce(attempt, 0), coalesce(lease_over, false), coalesce(undoing_was, false), coalesce(undoing, false), coalesce(msg_id, ''), coalesce(subject, '')
		FROM chaos_log ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []change
	for rows.Next() {
		var c change
		err := rows.Scan(&c.At, &c.What, &c.Operation, &c.Cluster, &c.Tenant, &c.Kind, &c.Arrival, &c.Step, &c.Name, &c.Stage,
			&c.Was, &c.State, &c.AttemptWas, &c.Attempt, &c.LeaseOver, &c.UndoingWas, &c.Undoing, &c.MsgID, &c.Subject)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

// The invariants, in the words of the summary.
const (
	invLost      = "every acknowledged request has exactly one fate"
	invTwice     = "no request is done twice"
	invSettled   = "everything ends"
	invPath      = "an operation's states follow the design"
	invOne       = "one active operation per cluster"
	invOrder     = "a cluster's operations start in order of arrival"
	invShare     = "no tenant has more than its share"
	invFence     = "a result counts only from the attempt that holds the lease"
	invEnd       = "a running step is ended by its own attempt alone"
	invTakeOver  = "a lease is taken over only when it has run out"
	invOnce      = "a completed step never runs again"
	invStage     = "a stage begins when the one before it is done"
	invSeq       = "events: gapless seq, in order, percent never falls"
	invEvents    = "every event and dead letter is published, once"
	invDead      = "a dead letter for every failure"
	invOrphans   = "nothing is left of a deleted cluster"
	invComplete  = "a ready cluster is complete, and no more"
	invSecrets   = "no secret in an event, a dead letter or a row"
	invWorkersUp = "workers stay up"
)

var invariants = []string{invLost, invTwice, invSettled, invPath, invOne, invOrder, invShare, invFence, invEnd, invTakeOver, invOnce, invStage,
	invSeq, invEvents, invDead, invOrphans, invComplete, invSecrets, invWorkersUp}

// next says which states may follow an operation's state.
var follows = map[string][]string{
	"":          {"queued", "succeeded"}, // a control request is done as it is accepted
	"queued":    {"running", "undoing", "cancelled", "succeeded"},
	"running":   {"undoing", "succeeded", "failed", "cancelled"}, // cancelled: nothing was there to undo
	"undoing":   {"cancelled", "failed"},
	"failed":    {"queued", "cancelled"},
	"succeeded": nil,
	"cancelled": nil,
}
