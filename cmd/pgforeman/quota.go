package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/caarlos0/env/v11"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// quotaSettings limit what the clusters of a tenant are given together.
type quotaSettings struct {
	Clusters int     `env:"PGFOREMAN_QUOTA_CLUSTERS"`
	Nodes    int     `env:"PGFOREMAN_QUOTA_NODES"`
	CPUs     float64 `env:"PGFOREMAN_QUOTA_CPUS"`
	MemoryMB int64   `env:"PGFOREMAN_QUOTA_MEMORY_MB"`
	File     string  `env:"PGFOREMAN_QUOTA_FILE"`
}

// quotaHelp explains the settings.
const quotaHelp = `
Quotas, what the clusters of one tenant may have together; 0 is no limit:
  PGFOREMAN_QUOTA_CLUSTERS     clusters, those that failed included (0)
  PGFOREMAN_QUOTA_NODES        their nodes (0)
  PGFOREMAN_QUOTA_CPUS         the CPUs of their nodes (0)
  PGFOREMAN_QUOTA_MEMORY_MB    the memory of their nodes, MiB (0)
  PGFOREMAN_QUOTA_FILE         JSON with tenants' own, the rest being as above:
                               {"acme": {"clusters": 5, "memory_mb": 65536}}
Give every worker the same: one of them at a time takes the requests.`

// readQuotas reads the quotas and tells every fault at once.
func readQuotas() (jobs.Quotas, error) {
	var s quotaSettings
	if err := settingsError(env.Parse(&s)); err != nil {
		return jobs.Quotas{}, withCode(exitUsage, err)
	}
	var file []byte
	if s.File != "" {
		var err error
		if file, err = os.ReadFile(s.File); err != nil {
			return jobs.Quotas{}, withCode(exitUsage, fmt.Errorf("settings: read PGFOREMAN_QUOTA_FILE: %w", err))
		}
	}
	q, err := jobs.ParseQuotas(jobs.Resources{Clusters: s.Clusters, Nodes: s.Nodes, CPUs: s.CPUs, MemoryMB: s.MemoryMB}, file)
	var faults jobs.Faults
	if errors.As(err, &faults) {
		lines := make([]error, len(faults))
		for i, f := range faults {
			lines[i] = fmt.Errorf("settings: quota: %s: %s", f.Field, f.Message)
		}
		err = withCode(exitUsage, errors.Join(lines...))
	}
	return q, err
}
