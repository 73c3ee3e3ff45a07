package cluster

import (
	"encoding/json"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// Names of the steps of cluster.rotate. They are persisted: never renamed,
// never reused.
const (
	stepCertIssue   = "certificates.issue"
	stepCertInstall = "certificates.install"
	stepCertNodes   = "certificates.nodes"
	stepCertVerify  = "certificates.verify"
	stepCertAdopt   = "certificates.adopt"
)

func rotateKind() jobs.Kind {
	return jobs.Kind{
		Name:      jobs.ClusterRotate,
		Target:    jobs.ExistingCluster,
		Title:     "rotate the certificates of cluster",
		Revocable: true,
		Decode:    decodeRotate,
		Plan:      planRotate,
	}
}

func decodeRotate(req jobs.Request) (json.RawMessage, error) {
	var spec jobs.RotateSpec
	faults := jobs.DecodeStrict(req.Data, &spec)
	faults = append(faults, otherName(req, spec.Name)...)
	if !spec.Certificates && len(faults) == 0 {
		faults = append(faults, jobs.Fault{
			Field: "certificates", Message: `must be true: the request asks for nothing to be rotated; send {"certificates": true}`,
		})
	}
	if len(faults) > 0 {
		return nil, faults
	}
	spec.Name = req.Cluster
	return json.Marshal(spec)
}

// otherName finds fault with a name in the data that is not the subject's.
func otherName(req jobs.Request, name string) jobs.Faults {
	if name == "" || name == req.Cluster {
		return nil
	}
	return jobs.Faults{{
		Field: "name", Message: "differs from the subject of the request: name one cluster, in one of them",
	}}
}

// planRotate brings new certificates of the same authority to every part. Both
// sets are valid all the while, so no order is needed between parts; the leader
// is last of the nodes all the same. The new set is the cluster's own only when
// every part serves it: until then the old one, which ends earlier, tells when
// the certificates are to be renewed.
func planRotate(in jobs.PlanInput) (jobs.Plan, error) {
	s, err := plannedSite(in)
	if err != nil {
		return nil, err
	}
	return jobs.Plan{
		{Title: "Issue new certificates", Steps: once(stepCertIssue)},
		{Title: "Give them to etcd", Steps: each(stepCertInstall, s.etcds())},
		{Title: "Give them to the nodes, the leader last", Steps: once(stepCertNodes)},
		{Title: "Give them to the proxies", Steps: each(stepCertInstall, s.proxies())},
		{Title: "Verify that all work with them", Steps: once(stepCertVerify)},
		{Title: "Adopt them", Steps: once(stepCertAdopt)},
	}, nil
}
