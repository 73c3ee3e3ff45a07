package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// TestKeysRotateWhileRunning gives a running program a new key in the middle of a
// creation, seals again, and takes the old key away: nothing stops, the
// credentials are the same, new clusters can be made, and the old key opens
// nothing any more. The cluster logs every statement, and says no password.
func TestKeysRotateWhileRunning(t *testing.T) {
	p := startProgram(t)
	po := openPortal(t, p, "default")
	path := filepath.Join(p.dir, "key")
	old := filepath.Join(t.TempDir(), "old-key")
	require.NoError(t, copyFile(path, old, 0o400))
	oldID := keyIDs(t, old)[0]

	po.publish("create-1", jobs.ClusterCreate, "orders", map[string]any{
		"nodes": 1, "etcd_members": 1, "memory_mb": 512, "parameters": talkative(),
		"users": []any{map[string]any{"name": "shop"}},
	})
	eventually(t, 3*time.Minute, "secrets sealed with the first key", func() error {
		if n := sealedWith(p)[oldID]; n == 0 {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	id, _, _ := strings.Cut(p.must("key", "rotate", "--state-dir", p.dir), " ")
	require.NotEqual(t, oldID, id)
	require.Empty(t, po.facts("orders", jobs.ClusterReadyEv), "the key was to change during the creation")
	followed(t, p, id, oldID)
	e := po.await("create-1", 8*time.Minute, jobs.OperationSucceededEv, jobs.OperationFailedEv)
	require.Equalf(t, jobs.EventTypeName(jobs.OperationSucceededEv), e.Type, "%+v", e.Data.Error)
	before := openApplication(t, p, "orders")

	var done struct {
		Key      string
		Resealed int
		Secrets  map[string]int
		Unused   []string
	}
	p.json(&done, "key", "reseal", "--state-dir", p.dir)
	require.Equal(t, id, done.Key)
	require.Greater(t, done.Resealed, 10, "password, keys and certificates of three parts")
	require.Equal(t, map[string]int{id: done.Resealed}, done.Secrets)
	require.Equal(t, []string{oldID}, done.Unused)

	dropKey(t, path, oldID)
	followed(t, p, id)
	now := openApplication(t, p, "orders")
	require.Equal(t, before.creds.Password, now.creds.Password, "the key rotates, not the password")
	now.mustPrimary("CREATE TABLE t (id int)")
	po.publish("create-2", jobs.ClusterCreate, "parcels", map[string]any{"nodes": 1, "etcd_members": 1, "memory_mb": 256})
	e = po.await("create-2", 8*time.Minute, jobs.OperationSucceededEv, jobs.OperationFailedEv)
	require.Equalf(t, jobs.EventTypeName(jobs.OperationSucceededEv), e.Type, "%+v", e.Data.Error)
	openApplication(t, p, "parcels").mustPrimary("CREATE TABLE t (id int)")
	require.Len(t, sealedWith(p), 1, "the new key seals alone")
	require.Positive(t, sealedWith(p)[id])

	t.Run("the old key opens nothing", func(t *testing.T) { tryOldKey(t, p, old, oldID, id) })
	t.Run("no password in PostgreSQL's log and statistics", func(t *testing.T) {
		shop := &application{t: t}
		p.json(&shop.creds, "cluster", "credentials", "orders", "--user", "shop")
		searchStatements(t, p, "orders", []string{now.creds.Password, shop.creds.Password})
	})
}

// tryOldKey starts a worker, and the doctor, with the key that was dropped: both
// say which key is missing, and the worker takes no work.
func tryOldKey(t *testing.T, p *program, file, oldID, id string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run := func(command string) (string, int) {
		t.Helper()
		var out bytes.Buffer
		cmd := exec.CommandContext(ctx, p.bin, command)
		cmd.Env = append(os.Environ(), "PGFOREMAN_NATS_URL=nats://"+p.natsAddr, "PGFOREMAN_DATABASE_URL="+p.stateDSN(),
			"PGFOREMAN_KEY_FILE="+file, "PGFOREMAN_INSTANCE="+p.instance(), "PGFOREMAN_HTTP_ADDR="+freeAddress(t))
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			require.NoError(t, err, out.String())
		}
		return out.String(), cmd.ProcessState.ExitCode()
	}
	for _, command := range []string{"worker", "doctor"} {
		said, code := run(command)
		require.Equalf(t, 1, code, "%s: %s", command, said)
		require.Contains(t, said, "lacks the keys "+id, command)
		require.Contains(t, said, "give this worker the key file that the others have", command)
		require.NotContains(t, said, p.stateFile("database-password"))
	}

	// The running program is given the old file by mistake: it says so, in its
	// log and to who asks, and works again with the right one.
	right, err := os.ReadFile(filepath.Join(p.dir, "key"))
	require.NoError(t, err)
	wrong, err := os.ReadFile(file)
	require.NoError(t, err)
	replaceKeyFile(t, filepath.Join(p.dir, "key"), wrong)
	followed(t, p, oldID)
	_, errs, code := p.run("cluster", "credentials", "orders")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "its log says why")
	require.Contains(t, p.log(), "is sealed with key "+id+", which the key file does not have")
	replaceKeyFile(t, filepath.Join(p.dir, "key"), right)
	openApplication(t, p, "orders") // at once: a key that is missing is looked for in the file
}

// followed waits until the program says that it has read exactly these keys, the
// first of which seals.
func followed(t *testing.T, p *program, ids ...string) {
	t.Helper()
	eventually(t, time.Minute, "the program to read its key file", func() error {
		last := "nothing"
		for _, line := range strings.Split(p.log(), "\n") {
			if strings.Contains(line, `"key file read"`) {
				last = line
			}
		}
		var read struct {
			Key  string
			Keys []string
		}
		if json.Unmarshal([]byte(last), &read) != nil || read.Key != ids[0] || len(read.Keys) != len(ids) {
			return fmt.Errorf("it last read %s, not %v", last, ids)
		}
		return nil
	})
}

// sealedWith counts the secrets in the state database by the key that sealed
// them.
func sealedWith(p *program) map[string]int {
	p.t.Helper()
	counts := map[string]int{}
	out := mustInside(p.t, p.stateContainer(), "psql", "-U", "postgres", "-h", "/run/postgresql", "-XAtc",
		"SELECT json_object_agg(key_id, n) FROM (SELECT key_id, count(*) AS n FROM secrets GROUP BY 1) s")
	if out != "" {
		require.NoError(p.t, json.Unmarshal([]byte(out), &counts), out)
	}
	return counts
}

// keyIDs are the ids of a key file's keys, in their order.
func keyIDs(t *testing.T, path string) []string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var ids []string
	for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		ids = append(ids, strings.Fields(line)[0])
	}
	return ids
}

// dropKey takes a key's line out of a key file, as an operator does.
func dropKey(t *testing.T, path, id string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var kept string
	for _, line := range strings.SplitAfter(string(raw), "\n") {
		if !strings.HasPrefix(line, id+" ") {
			kept += line
		}
	}
	require.NotEqual(t, string(raw), kept)
	replaceKeyFile(t, path, []byte(kept))
}

func replaceKeyFile(t *testing.T, path string, text []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".mine", text, 0o400))
	require.NoError(t, os.Rename(path+".mine", path))
}
