package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"strings"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// The roles of containers: the label io.pgforeman.role.
const (
	roleNode  = "node"
	roleEtcd  = "etcd"
	roleProxy = "proxy"
)

// Ports inside the containers.
const (
	postgresPort     = 5432
	patroniPort      = 8008
	etcdPort         = 2379
	etcdPeerPort     = 2380
	proxyPrimaryPort = 5000
	proxyReplicaPort = 5001
)

const (
	// nodesAlias is the network alias of all nodes, by which proxies find
	// them. It and every cluster's name are in the nodes' certificates.
	nodesAlias = "nodes"
	// namespace is where Patroni keeps its keys in etcd.
	namespace = "/pgforeman/"
	// etcdUser is who Patroni is to etcd.
	etcdUser = "patroni"
	// superuser is who the worker is to PostgreSQL.
	superuser = "postgres"
	// secretPath is where a container's volume of secrets is mounted.
	secretPath = "/opt/secretpg"
	dataPath   = "/data"
)

// site is a cluster with its specification read: from it every name derives.
type site struct {
	jobs.Cluster
	spec jobs.ClusterSpec
}

func siteOf(c jobs.Cluster) (site, error) {
	s := site{Cluster: c}
	if err := json.Unmarshal(c.Spec, &s.spec); err != nil {
		return s, jobs.Permanent(fmt.Errorf("read the specification of cluster %s: %w", c.Name, err))
	}
	return s, nil
}

// The names of the parts. People, certificates, Patroni and the cluster's own
// DNS know a part by this name; it is unique within the cluster.

func (s site) nodes() []string   { return numbered(s.Name+"-%d", s.spec.Nodes) }
func (s site) etcds() []string   { return numbered(s.Name+"-etcd-%d", s.spec.EtcdMembers) }
func (s site) proxies() []string { return numbered(s.Name+"-proxy-%d", s.spec.Proxies) }

func numbered(format string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i+1)
	}
	return out
}

// part is one container of the cluster.
type part struct {
	name string
	role string
}

// parts are all of them, etcd first, proxies last.
func (s site) parts() []part {
	var out []part
	for _, group := range []struct {
		role  string
		names []string
	}{{roleEtcd, s.etcds()}, {roleNode, s.nodes()}, {roleProxy, s.proxies()}} {
		for _, name := range group.names {
			out = append(out, part{name, group.role})
		}
	}
	return out
}

// The names on the Engine, where other tenants and other pgforemans may have a
// cluster of the same name, or this one may just be going: so each ends in eight
// characters of the cluster's id.

func (s site) container(part string) string    { return part + "." + s.short() }
func (s site) dataVolume(part string) string   { return part + ".data." + s.short() }
func (s site) secretVolume(part string) string { return part + ".secret." + s.short() }
func (s site) network() string                 { return s.Name + "." + s.short() }

// short is the end of the id: in a UUID v7 that is the random part.
func (s site) short() string {
	id := strings.ReplaceAll(s.ID, "-", "")
	return id[max(0, len(id)-8):]
}

// labels find everything of the cluster, whatever it is.
func (s site) labels() docker.Labels { return docker.Labels{docker.LabelClusterID: s.ID} }

// marks are the labels of what belongs to the cluster as a whole: the owner's
// own and pgforeman's, which no one else may set.
func (s site) marks() docker.Labels {
	l := docker.Labels{}
	for k, v := range s.spec.Labels {
		if !strings.HasPrefix(k, "io.pgforeman.") {
			l[k] = v
		}
	}
	l[docker.LabelTenant] = s.Tenant
	l[docker.LabelCluster] = s.Name
	l[docker.LabelClusterID] = s.ID
	return l
}

// marksOf are the labels of one part's things.
func (s site) marksOf(p part) docker.Labels {
	l := maps.Clone(s.marks())
	l[docker.LabelRole] = p.role
	l[docker.LabelNode] = p.name
	return l
}

// Purposes of host ports, as the store knows them.
const (
	primaryPurpose = "primary"
	replicaPurpose = "replica"
)

// purposes are the names of a proxy's two host ports. The first proxy has those
// that the request may ask for.
func (s site) purposes(proxy string) (primary, replica string) {
	if proxy == s.proxies()[0] {
		return primaryPurpose, replicaPurpose
	}
	return primaryPurpose + " " + proxy, replicaPurpose + " " + proxy
}

// portWants are the host ports that the cluster needs.
func (s site) portWants() []jobs.PortWant {
	var wants []jobs.PortWant
	for _, proxy := range s.proxies() {
		primary, replica := s.purposes(proxy)
		wants = append(wants,
			jobs.PortWant{Name: primary, Port: s.asked(primary)},
			jobs.PortWant{Name: replica, Port: s.asked(replica)})
	}
	return wants
}

// asked is the port that the request asks for; 0 when it leaves the choice.
func (s site) asked(purpose string) int {
	switch purpose {
	case primaryPurpose:
		return s.spec.PrimaryPort
	case replicaPurpose:
		return s.spec.ReplicaPort
	}
	return 0
}

// dialAddress is the address under which the proxies are reached from their own
// host: the one they are bound to, or the loopback address when that is all.
func (s site) dialAddress() string {
	ip := net.ParseIP(s.spec.BindAddress)
	switch {
	case ip == nil:
		return "127.0.0.1"
	case ip.IsUnspecified() && ip.To4() == nil:
		return "::1"
	case ip.IsUnspecified():
		return "127.0.0.1"
	}
	return s.spec.BindAddress
}

// etcdPrefix is where all of the cluster's keys are: its role in etcd may touch
// nothing else.
func (s site) etcdPrefix() string { return namespace + s.ID + "/" }
