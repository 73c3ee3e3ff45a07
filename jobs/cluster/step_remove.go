package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// removers is how many things are removed at the same time.
const removers = 4

func (c *Catalogue) removeContainers() jobs.StepType {
	return c.removal(stepRemoveContainers, "remove containers", onlyContainers)
}

func (c *Catalogue) removeNetwork() jobs.StepType {
	return c.removal(stepRemoveNetwork, "remove network", onlyNetworks)
}

func (c *Catalogue) removeVolumes() jobs.StepType {
	return c.removal(stepRemoveVolumes, "remove volumes", onlyVolumes)
}

// removal makes the step type that removes some of a cluster's things, found by
// label.
func (c *Catalogue) removal(name, title string, which selection) jobs.StepType {
	return jobs.StepType{
		Name:    name,
		Title:   title,
		Timeout: 3 * time.Minute,
		Weight:  3,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			removed, err := c.removeReporting(ctx, a.Cluster, which, a.Progress)
			return jobs.Result{Output: map[string]int{"removed": removed}}, err
		},
	}
}

// selection narrows an inventory.
type selection func(docker.Inventory) docker.Inventory

func onlyContainers(inv docker.Inventory) docker.Inventory {
	return docker.Inventory{Containers: inv.Containers}
}
func onlyNetworks(inv docker.Inventory) docker.Inventory {
	return docker.Inventory{Networks: inv.Networks}
}
func onlyVolumes(inv docker.Inventory) docker.Inventory {
	return docker.Inventory{Volumes: inv.Volumes}
}

// onlyPart selects one part's container and volumes.
func onlyPart(name string) selection {
	of := func(objects []docker.Object) (out []docker.Object) {
		for _, o := range objects {
			if o.Labels[docker.LabelNode] == name {
				out = append(out, o)
			}
		}
		return out
	}
	return func(inv docker.Inventory) docker.Inventory {
		return docker.Inventory{Containers: of(inv.Containers), Volumes: of(inv.Volumes)}
	}
}

// remove removes what is selected of a cluster's things; nothing there is fine.
func (c *Catalogue) remove(ctx context.Context, cluster jobs.Cluster, which selection) error {
	_, err := c.removeReporting(ctx, cluster, which, func(jobs.Observation) {})
	return err
}

func (c *Catalogue) removeReporting(
	ctx context.Context, cluster jobs.Cluster, which selection, report func(jobs.Observation),
) (removed int, err error) {
	inv, err := c.engine.Inventory(ctx, site{Cluster: cluster}.labels())
	if err != nil {
		return 0, explain(err)
	}
	inv = which(inv)
	total := len(inv.Containers) + len(inv.Networks) + len(inv.Volumes)
	done := make(chan string)
	var failed error
	go func() {
		failed = c.removeEach(ctx, inv, done)
		close(done)
	}()
	for name := range done {
		removed++
		report(jobs.Observation{
			Message: fmt.Sprintf("removed %s, %d of %d", name, removed, total),
			Done:    int64(removed), Total: int64(total), Unit: "objects",
		})
	}
	return removed, failed
}

// removeEach removes containers first, a few at a time, then the rest, telling
// the name of each. One that cannot be removed does not keep the others.
func (c *Catalogue) removeEach(ctx context.Context, inv docker.Inventory, done chan<- string) error {
	var containers, rest []docker.Inventory
	for _, o := range inv.Containers {
		containers = append(containers, docker.Inventory{Containers: []docker.Object{o}})
	}
	for _, o := range inv.Networks {
		rest = append(rest, docker.Inventory{Networks: []docker.Object{o}})
	}
	for _, o := range inv.Volumes {
		rest = append(rest, docker.Inventory{Volumes: []docker.Object{o}})
	}
	return errors.Join(c.removeTogether(ctx, containers, done), c.removeTogether(ctx, rest, done))
}

func (c *Catalogue) removeTogether(ctx context.Context, each []docker.Inventory, done chan<- string) error {
	var group errgroup.Group
	group.SetLimit(removers)
	errs := make([]error, len(each))
	for i, one := range each {
		group.Go(func() error {
			if errs[i] = explain(c.engine.Remove(ctx, one)); errs[i] == nil {
				done <- one.String()
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return errors.Join(errs...)
}
