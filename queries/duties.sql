-- name: DutyTake :execrows
INSERT INTO duties (name, worker, lease_until) VALUES (@name, @worker, now() + @lease::interval)
ON CONFLICT (name) DO UPDATE SET worker = excluded.worker, lease_until = excluded.lease_until
WHERE duties.worker = excluded.worker OR duties.lease_until < now();

-- name: DutyGiveUp :exec
DELETE FROM duties WHERE name = @name AND worker = @worker;

-- name: Now :one
SELECT clock_timestamp()::timestamptz AS now;
