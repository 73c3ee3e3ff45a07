package cluster

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// verifyCluster checks one cluster against its record: gone when it is deleted,
// whole when it is ready.
func (s *sim) verifyCluster(ctx context.Context, id string) error {
	cluster, err := s.db.Cluster(ctx, id)
	if err != nil {
		return err
	}
	at, err := siteOf(cluster)
	if err != nil {
		return err
	}
	var secrets, ports, nodes int
	err = s.watch.QueryRow(ctx, `SELECT (SELECT count(*) FROM secrets WHERE cluster_id = $1), (SELECT count(*) FROM ports WHERE cluster_id = $1),
		(SELECT count(*) FROM nodes WHERE cluster_id = $1)`, id).Scan(&secrets, &ports, &nodes)
	if err != nil {
		return err
	}
	inv, err := s.host.Inventory(ctx, at.labels())
	if err != nil {
		return err
	}
	switch cluster.State {
	case jobs.ClusterDeleted:
		s.check(invOrphans, 1)
		if !inv.Empty() || secrets+ports+nodes > 0 {
			s.violate(invOrphans, "of cluster %s (%s) there is left: %s; %d secrets, %d ports, %d nodes", cluster.Name, id, inv, secrets, ports, nodes)
		}
	case jobs.ClusterReady:
		s.check(invComplete, 1)
		s.verifyWhole(ctx, at, inv)
		if ports != 2*len(at.proxies()) {
			s.violate(invComplete, "cluster %s (%s) has %d ports", cluster.Name, id, ports)
		}
	case jobs.ClusterCreating, jobs.ClusterFailed, jobs.ClusterDeleting, jobs.ClusterDegraded:
		s.violate(invSettled, "cluster %s (%s) stays %s", cluster.Name, id, cluster.State)
	}
	return nil
}

// verifyWhole checks that a cluster has every part, each with its volumes and
// the secrets that are stored, and nothing else.
func (s *sim) verifyWhole(ctx context.Context, at site, inv docker.Inventory) {
	k, err := s.db.Secrets(ctx, at.ID)
	if err != nil || len(k[caCert]) == 0 {
		s.violate(invComplete, "cluster %s (%s) is ready without secrets: %v", at.Name, at.ID, err)
		return
	}
	want := map[string]bool{"network " + at.network(): true}
	for _, p := range at.parts() {
		want["container "+at.container(p.name)] = true
		for _, v := range at.volumes(p) {
			want["volume "+v.Name] = true
		}
		if !s.host.answers(at, k, p.name) {
			s.violate(invComplete, "of the ready cluster %s (%s) the part %s does not answer", at.Name, at.ID, p.name)
		}
	}
	s.verifyCertificates(ctx, at, k)
	is := map[string]bool{}
	for _, name := range strings.Split(inv.String(), ", ") {
		is[name] = true
	}
	if !maps.Equal(want, is) {
		s.violate(invComplete, "the ready cluster %s (%s) has %v, not %v", at.Name, at.ID,
			slices.Sorted(maps.Keys(is)), slices.Sorted(maps.Keys(want)))
	}
}

// verifyCertificates checks that every part shows the certificate that is kept
// for it. A worker that slept may have come with an older one, which is as good.
func (s *sim) verifyCertificates(ctx context.Context, at site, k keys) {
	s.mu.Lock()
	slept := s.late["certificate "+at.ID]
	s.mu.Unlock()
	if slept {
		return
	}
	for _, p := range at.parts() {
		want, err := k.serial(p.name)
		if err != nil {
			s.violate(invComplete, "of the ready cluster %s (%s) the certificate of %s cannot be read: %v", at.Name, at.ID, p.name, err)
			continue
		}
		shown, err := s.parts.served(ctx, at, k, p)
		if err != nil || len(shown) != 1 || shown[0] != want {
			s.violate(invComplete, "of the ready cluster %s (%s) the part %s shows %v (%v), not %s", at.Name, at.ID, p.name, shown, err, want)
		}
	}
}
