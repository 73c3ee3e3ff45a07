package cluster

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

func TestRotateAsksForSomething(t *testing.T) {
	decode := func(data string) (string, error) {
		spec, err := rotateKind().Decode(jobs.Request{Cluster: "orders", Data: json.RawMessage(data)})
		return string(spec), err
	}
	spec, err := decode(`{"certificates": true}`)
	require.NoError(t, err)
	require.JSONEq(t, `{"name": "orders", "certificates": true}`, spec)
	for data, says := range map[string]string{
		``:                        `send {"certificates": true}`,
		`{}`:                      `send {"certificates": true}`,
		`{"certificates": false}`: `send {"certificates": true}`,
		`{"certificates": "yes"}`: "true or false",
		`{"passwords": true}`:     "is not a field",
		`{"certificates": true, "name": "billing"}`: "differs from the subject",
	} {
		_, err := decode(data)
		require.ErrorContains(t, err, says, data)
	}
}

// rotating is a cluster that is ready, with the steps of its rotation.
func rotating(t *testing.T, change func(*jobs.ClusterSpec)) (*world, *answers, *bench, site, []jobs.Step) {
	t.Helper()
	w, p, b := fixture(t, change)
	b.all(createKind())
	w.beCluster(b.cluster, jobs.ClusterReady)
	s, err := siteOf(b.cluster)
	require.NoError(t, err)
	var steps []jobs.Step
	for _, stage := range planOf(t, rotateKind(), b.cluster) {
		steps = append(steps, stage.Steps...)
	}
	return w, p, b, s, steps
}

// serials are those of the certificates that the parts work with.
func serials(t *testing.T, p *answers, s site) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, part := range s.parts() {
		served, err := p.served(t.Context(), s, nil, part)
		require.NoError(t, err)
		out[part.name] = served[0]
	}
	return out
}

// TestRotationThroughTheHarness drives each step of cluster.rotate through run,
// run again, undo, undo again, run.
func TestRotationThroughTheHarness(t *testing.T) {
	t.Parallel()
	w, p, b, s, steps := rotating(t, nil)
	before, was := keys(w.secrets), serials(t, p, s)
	for _, step := range steps {
		require.Equal(t, before, keys(w.secrets), "the old set is the cluster's own until %s", step)
		b.run(step)
		secrets, staged, changes := w.secrets, w.staged["op"], w.changes
		b.run(step)
		require.Equal(t, secrets, w.secrets, "running %s again", step)
		require.Equal(t, staged, w.staged["op"], "running %s again made a second set", step)
		require.Equal(t, changes, w.changes, "running %s again touched the Engine", step)
		if b.steps[step.Name].Undo != nil {
			b.undo(step)
			require.Empty(t, w.staged["op"], "undoing %s", step)
			b.undo(step)
			b.run(step)
		}
	}
	require.Empty(t, w.staged["op"])
	require.Equal(t, jobs.ClusterReady, b.cluster.State, "the keeper looks after it all the while")
	now, is := keys(w.secrets), serials(t, p, s)
	require.Len(t, now, len(before))
	for name := range before {
		fresh := name != caCert && name != caKey && (strings.HasSuffix(name, ".pem") || strings.HasSuffix(name, ".key"))
		require.Equal(t, !fresh, string(before[name]) == string(now[name]), name)
	}
	for _, part := range s.parts() {
		want, err := now.serial(part.name)
		require.NoError(t, err)
		require.Equal(t, want, is[part.name])
		require.NotEqual(t, was[part.name], is[part.name])
		conf, err := s.tls(now, part.name)
		require.NoError(t, err)
		require.Len(t, conf.Certificates, 1)
	}
	open := string(mustJSON(b.outputs)) + string(mustJSON(b.seen))
	require.Contains(t, open, "expire_at")
	require.NotContains(t, open, "PRIVATE KEY")
}

// TestAnUndoneRotationLeavesAWorkingCluster turns it back after each step: what
// the parts have and what is stored are of one authority.
func TestAnUndoneRotationLeavesAWorkingCluster(t *testing.T) {
	t.Parallel()
	w, p, b, s, steps := rotating(t, nil)
	for made := range len(steps) + 1 {
		before, left := keys(w.secrets), w.left()
		for _, step := range steps[:made] {
			b.run(step)
		}
		for i := made - 1; i >= 0; i-- {
			b.undo(steps[i])
			b.undo(steps[i])
		}
		require.Empty(t, w.staged["op"])
		require.Equal(t, left, w.left(), "nothing is removed")
		if made < len(steps) {
			require.Equal(t, before, keys(w.secrets))
		}
		require.NotEmpty(t, serials(t, p, s))
		for _, step := range steps { // another rotation finds nothing in its way
			b.run(step)
		}
		require.NotEqual(t, before, keys(w.secrets))
	}
}

func TestTheLeaderIsLast(t *testing.T) {
	t.Parallel()
	_, p, b, s, steps := rotating(t, nil)
	p.key = "orders-2"
	b.run(steps[0])
	p.installed = nil
	b.run(jobs.Step{Name: stepCertNodes})
	require.Equal(t, []string{"orders-1", "orders-3", "orders-2"}, p.installed)
	require.Equal(t, s.nodes(), last(s.nodes(), "who"))
}

func TestAPartThatIsDownGetsItsCertificateAndIsWaitedFor(t *testing.T) {
	t.Parallel()
	w, p, b, s, steps := rotating(t, nil)
	b.run(steps[0])
	w.be(s.container("orders-3"), docker.StateExited)
	b.timeout = 300 * time.Millisecond
	_, err := b.try(jobs.Step{Name: stepCertNodes})
	require.ErrorContains(t, err, "orders-3 is down (exited): its new certificate is in its volume, waiting until it runs")
	require.NotContains(t, p.installed, "orders-3")

	w.be(s.container("orders-3"), docker.StateRunning)
	want, err := keys(w.staged["op"]).serial("orders-3")
	require.NoError(t, err)
	require.Equal(t, want, serials(t, p, s)["orders-3"], "it comes back with the new one")
	b.timeout = 30 * time.Second
	b.run(jobs.Step{Name: stepCertNodes})
}

func TestARotationSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	w, p, b, s, steps := rotating(t, nil)
	b.run(steps[0])
	b.timeout = 200 * time.Millisecond
	p.stubborn = "orders-etcd-2"
	_, err := b.try(jobs.Step{Name: stepCertInstall, Node: "orders-etcd-2"})
	require.ErrorContains(t, err, "orders-etcd-2 has its new certificate, and does not show it yet")
	require.Len(t, p.installed, 1, "it is not given again and again")
	_, err = b.try(jobs.Step{Name: stepCertVerify})
	require.ErrorContains(t, err, "does not show its new certificate")
	delete(w.containers, s.container("orders-proxy-1"))
	_, err = b.try(jobs.Step{Name: stepCertInstall, Node: "orders-proxy-1"})
	require.ErrorContains(t, err, "orders-proxy-1 has no container")
	_, err = b.try(jobs.Step{Name: stepCertInstall, Node: "orders-etcd-9"})
	requireCode(t, err, jobs.CodeInternal, true)

	b.cluster.State = jobs.ClusterFailed
	_, err = b.try(steps[0])
	requireCode(t, err, jobs.CodeStepFailed, true)
}

func TestProxySerials(t *testing.T) {
	s, err := siteOf(newCluster("orders", nil))
	require.NoError(t, err)
	k, err := newKeys(s, time.Now())
	require.NoError(t, err)
	serial, err := k.serial("orders-proxy-1")
	require.NoError(t, err)
	shown := string(k[certOf("orders-proxy-1")])
	got, err := proxySerials([]byte("Subject:x\n" + shown + "\nFilename: x\nStatus: Used\nSerial: 0" + strings.ToUpper(serial) + "\nnotBefore: x\n"))
	require.NoError(t, err)
	require.Equal(t, []string{serial, serial}, got)
	for _, out := range []string{"", shown, shown + "\nStatus: Unused\nSerial: 00\n", "Status: Used\nSerial: 00\n"} {
		_, err := proxySerials([]byte(out))
		require.Error(t, err)
	}
}

func TestStatusTellsWhenTheCertificatesEnd(t *testing.T) {
	t.Parallel()
	w, _, b, s, _ := rotating(t, nil)
	status, err := b.c.Status(context.Background(), b.cluster)
	require.NoError(t, err)
	ends, err := keys(w.secrets).term(s)
	require.NoError(t, err)
	require.Equal(t, ends.to, *status.CertificatesExpireAt)
	require.WithinDuration(t, time.Now().Add(365*24*time.Hour), ends.to, time.Hour)
}
