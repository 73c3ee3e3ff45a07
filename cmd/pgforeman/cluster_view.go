package main

import (
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func (f *front) drawClusters(out io.Writer, clusters []jobs.ClusterView) error {
	t := newTable("NAME", "STATE", "NODES", "PRIMARY", "REPLICAS", "CREATED")
	for _, c := range clusters {
		t.row(c.Name, c.State, strconv.Itoa(c.Spec.Nodes), c.Endpoints.Primary, c.Endpoints.Replica, stamp(c.CreatedAt))
	}
	return t.write(out, "There is no cluster. Create one: "+f.command("cluster create NAME"))
}

func (f *front) drawCluster(out io.Writer, c jobs.ClusterView) error {
	lines := headOf(c)
	lines = append(lines, specLines(c.Spec)...)
	if c.Operation != "" {
		lines = append(lines, []string{"in progress", f.command("operation watch %s", c.Operation)})
	}
	if _, err := fmt.Fprintln(out, fields(lines)); err != nil {
		return err
	}
	if len(c.Nodes) == 0 {
		return nil
	}
	t := newTable("NODE", "ROLE", "STATE", "TIMELINE", "LAG")
	for _, n := range c.Nodes {
		t.row(n.Name, words(n.Role), n.State, number(n.Timeline), lag(n.Role, n.LagBytes))
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	return t.write(out, "")
}

// headOf are the first lines about a cluster.
func headOf(c jobs.ClusterView) [][]string {
	return [][]string{
		{"cluster", c.Name}, {"tenant", c.Tenant}, {"state", c.State}, {"id", c.ID}, {"created", stamp(c.CreatedAt)},
		{"primary", c.Endpoints.Primary}, {"replicas", c.Endpoints.Replica},
	}
}

// specLines are what a cluster was asked to be.
func specLines(s jobs.ClusterSpec) [][]string {
	size := fmt.Sprintf("%d MiB", s.MemoryMB)
	if s.CPUs > 0 {
		size += fmt.Sprintf(", %g CPUs", s.CPUs)
	}
	lines := [][]string{
		{"postgres", s.PostgresVersion},
		{"parts", strings.Join([]string{count(s.Nodes, "node"), count(s.EtcdMembers, "etcd member"), proxies(s.Proxies)}, ", ")},
		{"a node has", size}, {"synchronous", s.SynchronousMode},
		{"parameters", joined(s.Parameters)}, {"labels", joined(s.Labels)},
	}
	var names []string
	for _, d := range s.Databases {
		names = append(names, d.Name+" (owner "+d.Owner+")")
	}
	lines = append(lines, []string{"databases", strings.Join(names, ", ")})
	names = nil
	for _, u := range s.Users {
		names = append(names, u.Name)
	}
	return append(lines, []string{"users", strings.Join(names, ", ")})
}

func proxies(n int) string {
	if n == 1 {
		return "1 proxy"
	}
	return fmt.Sprintf("%d proxies", n)
}

// joined are the settings of a map, sorted.
func joined(m map[string]string) string {
	var pairs []string
	for k, v := range m {
		pairs = append(pairs, k+"="+v)
	}
	sort.Strings(pairs)
	return strings.Join(pairs, ", ")
}

func drawStatus(out io.Writer, s jobs.StatusView) error {
	nodes := newTable("NODE", "CONTAINER", "ROLE", "STATE", "TIMELINE", "LAG", "CLIENT_ADDR", "WALSENDER",
		"SENT", "WRITE", "FLUSH", "REPLAY", "SYNC", "RECEIVER", "SENDER")
	others := newTable("PART", "KIND", "CONTAINER", "STATE")
	var notes []string
	for _, p := range s.Parts {
		if p.Note != "" {
			notes = append(notes, clean(p.Name+": "+p.Note))
		}
		if p.Part != "node" {
			others.row(p.Name, p.Part, boxOf(p), p.State)
			continue
		}
		nodes.row(p.Name, boxOf(p), words(p.Role), p.State, number(p.Timeline), lag(p.Role, p.LagBytes),
			p.ClientAddr, p.Streaming, p.SentLSN, p.WriteLSN, p.FlushLSN, p.ReplayLSN, p.SyncState, p.Receiver, p.SenderHost)
	}
	w := &strings.Builder{}
	head := headOf(s.ClusterView)
	if s.CertificatesExpireAt != nil {
		head = append(head, []string{"certificates", "until " + stamp(*s.CertificatesExpireAt)})
	}
	fmt.Fprintln(w, fields(head))
	for _, t := range []*table{nodes, others} {
		if len(t.rows) > 0 {
			fmt.Fprintln(w)
			_ = t.write(w, "") // a strings.Builder takes everything
		}
	}
	if len(s.Trouble)+len(notes) > 0 {
		fmt.Fprintln(w)
	}
	for _, trouble := range s.Trouble {
		fmt.Fprintln(w, "! "+clean(trouble))
	}
	for _, note := range notes {
		fmt.Fprintln(w, "  "+note)
	}
	if len(s.Trouble) == 0 && s.State == string(jobs.ClusterReady) {
		fmt.Fprintln(w, "\nAll is as it should be.")
	}
	_, err := io.WriteString(out, w.String())
	return err
}

// boxOf is how a container stands; its health where that is not well.
func boxOf(p jobs.PartStatus) string {
	switch p.Health {
	case "", "none", "healthy":
		return p.Container
	}
	return p.Container + " (" + p.Health + ")"
}

// words are the words of a name with underscores.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

// number is empty for nothing.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// lag is a replica's; a leader has none.
func lag(role string, bytes int64) string {
	if role == "leader" || role == "" {
		return ""
	}
	return bytesOf(bytes)
}

// fields are lines of a name and a value, aligned; those without a value are
// left out.
func fields(lines [][]string) string {
	var kept [][]string
	for _, l := range lines {
		if l[1] != "" {
			kept = append(kept, []string{l[0], clean(l[1])})
		}
	}
	return strings.TrimRight(drawn(kept, "", ""), "\n")
}

// drawReady says how to go on with a new cluster.
func (f *front) drawReady(out io.Writer, name string, at *jobs.Endpoints) error {
	lines := [][]string{}
	if at != nil {
		lines = append(lines, []string{"primary, for reads and writes", at.Primary})
		if at.Replica != "" {
			lines = append(lines, []string{"replicas, for reads", at.Replica})
		}
	}
	lines = append(lines,
		[]string{"how to connect", f.command("cluster credentials %s", name)},
		[]string{"how it stands", f.command("cluster status %s", name)})
	_, err := fmt.Fprintf(out, "cluster %s is ready\n%s\n", name, aligned(lines))
	return err
}

// drawCredentials says how to connect. The command for psql has no password in
// it, so that none shows in a process list: psql asks.
func (f *front) drawCredentials(out io.Writer, name string, c jobs.Credentials) error {
	file := name + "-ca.pem"
	_, err := fmt.Fprintf(out, "%s\n\nTo check the server's identity too:\n%s\n", fields([][]string{
		{"user", c.Username}, {"password", c.Password}, {"database", c.Database},
		{"primary", c.PrimaryURI}, {"replicas", c.ReplicaURI},
	}), aligned([][]string{
		{f.command("cluster credentials %s --ca", name) + " > " + file},
		{`psql "` + verified(c.PrimaryURI, file) + `"`},
	}))
	return err
}

// verified is a URI without its password that has the server's certificate and
// name checked against the authority in a file.
func verified(uri, file string) string {
	if scheme, rest, ok := strings.Cut(uri, "://"); ok {
		if who, where, ok := strings.Cut(rest, "@"); ok {
			user, _, _ := strings.Cut(who, ":")
			uri = scheme + "://" + user + "@" + where
		}
	}
	return strings.Replace(uri, "sslmode=require", "sslmode=verify-full&sslrootcert="+file, 1)
}
