package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// Engine is what the catalogue needs of the Docker Engine; *docker.Engine is one.
type Engine interface {
	Info(ctx context.Context) (docker.Info, error)
	EnsureNetwork(ctx context.Context, spec docker.NetworkSpec) (docker.Network, error)
	EnsureVolume(ctx context.Context, spec docker.VolumeSpec) (docker.Volume, error)
	EnsureContainer(ctx context.Context, spec docker.ContainerSpec) (docker.Container, error)
	Container(ctx context.Context, name string) (docker.Container, error)
	Containers(ctx context.Context, labels docker.Labels) ([]docker.Container, error)
	StartContainer(ctx context.Context, name string) error
	PutFiles(ctx context.Context, name string, files []docker.File) error
	Exec(ctx context.Context, name string, cmd []string, stdin []byte) (docker.ExecResult, error)
	Inventory(ctx context.Context, labels docker.Labels) (docker.Inventory, error)
	Remove(ctx context.Context, inv docker.Inventory) error
	Watch(ctx context.Context, labels docker.Labels) <-chan docker.Event
}

// State is what the catalogue needs of the state database. Methods return
// jobs.ErrUnavailable (wrapped) when it cannot be reached, jobs.ErrNotFound for
// a cluster that does not exist.
type State interface {
	Cluster(ctx context.Context, id string) (jobs.Cluster, error)
	// LiveClusters gives all clusters that are not deleted.
	LiveClusters(ctx context.Context) ([]jobs.Cluster, error)
	// ClusterStates gives the states of those that are known.
	ClusterStates(ctx context.Context, ids []string) (map[string]jobs.ClusterState, error)
	// PutSecretsOnce stores a set of secrets unless the cluster has them; what
	// it returns is what is stored.
	PutSecretsOnce(ctx context.Context, clusterID string, secrets map[string][]byte) (map[string][]byte, error)
	Secrets(ctx context.Context, clusterID string) (map[string][]byte, error)
	// StageSecrets keeps an operation's new secrets beside those in use, once;
	// what it returns is what is staged. AdoptSecrets puts them in their place,
	// DropStagedSecrets forgets them. All return jobs.ErrLeaseLost where the
	// operation is not under way any more.
	StageSecrets(ctx context.Context, clusterID, operationID string, secrets map[string][]byte) (map[string][]byte, error)
	StagedSecrets(ctx context.Context, clusterID, operationID string) (map[string][]byte, error)
	AdoptSecrets(ctx context.Context, clusterID, operationID string) error
	DropStagedSecrets(ctx context.Context, clusterID, operationID string) error
	// Admit takes in a request, once for its id.
	Admit(ctx context.Context, a jobs.Admission) (jobs.Admitted, error)
	// Operations lists a tenant's operations, the newest first.
	Operations(ctx context.Context, tenant string, f jobs.OperationFilter) ([]jobs.Operation, error)
	// AllocatePorts gives each purpose a host port of its own, the same one
	// whenever it is asked again.
	AllocatePorts(ctx context.Context, clusterID, host string, wants []jobs.PortWant, low, high int, avoid []int) (map[string]int, error)
	// ReallocatePort gives a purpose another port than not.
	ReallocatePort(ctx context.Context, clusterID, host, name string, low, high, not int) (int, error)
	// ForgetCluster removes a cluster's secrets, ports and nodes.
	ForgetCluster(ctx context.Context, clusterID string) error
	SaveNodes(ctx context.Context, clusterID string, nodes []jobs.NodeRecord) error
	Nodes(ctx context.Context, clusterID string) ([]jobs.NodeRecord, error)
	// TellFacts publishes facts outside of any operation and, with a change,
	// moves the cluster between ready and degraded; a cluster in another state
	// is left alone and nothing is told.
	TellFacts(ctx context.Context, clusterID string, facts []jobs.Fact, change *jobs.ClusterChange) error
}

// PortRange is the host ports that are allocated, both ends included.
type PortRange struct{ Low, High int }

// The default range is below the one from which Linux takes the ports of
// outgoing connections (net.ipv4.ip_local_port_range begins at 32768), so that
// an allocated port is not taken by chance.
const (
	defaultLowPort  = 25000
	defaultHighPort = 29999
)

// Deps are what a Catalogue works with.
type Deps struct {
	Engine Engine
	State  State
	Log    zerolog.Logger
	// Ports is the range to allocate from; zero means 25000–29999.
	Ports PortRange
	// Change, when set, is called around every change that is made in etcd,
	// Patroni and PostgreSQL: the place of failure points.
	Change func(what string, change func() error) error

	// now, wall and probe are replaced by tests.
	now   func() time.Time
	wall  func() time.Time
	probe probe
}

// Catalogue is everything pgforeman can do to clusters. It is safe for
// concurrent use.
type Catalogue struct {
	engine Engine
	state  State
	probe  probe
	log    zerolog.Logger
	ports  PortRange
	// now measures how long things take, by the monotonic clock, which nobody
	// sets. wall is for what is written down, or compared with another clock's
	// times: it may jump, so nothing may wait for it.
	now, wall func() time.Time
}

// New checks d and makes a catalogue of it. It does no I/O.
func New(d Deps) (*Catalogue, error) {
	if d.Engine == nil || d.State == nil {
		return nil, errors.New("make the catalogue: an engine and a state are needed")
	}
	c := &Catalogue{engine: d.Engine, state: d.State, probe: d.probe, log: d.Log, ports: d.Ports, now: d.now, wall: d.wall}
	if c.ports == (PortRange{}) {
		c.ports = PortRange{Low: defaultLowPort, High: defaultHighPort}
	}
	if c.ports.Low < 1024 || c.ports.High > 65535 || c.ports.Low > c.ports.High {
		return nil, errors.New("make the catalogue: the port range must lie within 1024–65535")
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.wall == nil {
		c.wall = time.Now
	}
	if c.probe == nil {
		c.probe = newDialer(d.Engine, d.Change)
	}
	return c, nil
}

// Kinds are the kinds of request that the catalogue carries out.
func (c *Catalogue) Kinds() []jobs.Kind {
	return []jobs.Kind{createKind(), deleteKind(), rotateKind()}
}

// Steps are the step types that the kinds' plans name.
func (c *Catalogue) Steps() []jobs.StepType {
	return []jobs.StepType{
		c.allocate(), c.ensureNetwork(),
		c.startEtcd(), c.etcdHealthy(),
		c.startNode(), c.answering(), c.leaderElected(), c.ensureDatabases(), c.basebackup(), c.streaming(),
		c.startProxy(), c.proxyRegistered(), c.verify(),
		c.removeContainers(), c.removeNetwork(), c.removeVolumes(), c.forget(),
		c.issueCertificates(), c.installCertificate(), c.nodeCertificates(), c.verifyCertificates(), c.adoptCertificates(),
	}
}

// Chores are the keeper and the reaper, for the worker that holds the foreman
// duty.
func (c *Catalogue) Chores() []func(ctx context.Context) error {
	return []func(ctx context.Context) error{c.Keeper, c.Reaper}
}
