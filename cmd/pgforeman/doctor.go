package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
	"github.com/vcs-iaas/pgforeman/store"
)

// finding is what the doctor says of one thing.
type finding struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"` // ok, warn, fail, skipped
	Seen    string `json:"seen"`
	Mend    string `json:"mend,omitempty"`
}

// The verdicts.
const (
	verdictOK      = "ok"
	verdictWarn    = "warn"
	verdictFail    = "fail"
	verdictSkipped = "skipped"
)

func newDoctorCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with Docker, NATS, the state database and the key file",
		Long: `Looks at everything a worker needs and says how to mend what is wrong. Docker and
NATS are looked at always; the state database and the key file when their
settings are in the environment (see: pgforeman worker --help; "pgforeman dev"
brings its own). Ends with exit code 1 when something fails.`,
		Example: "  pgforeman doctor\n  pgforeman doctor -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var found []finding
			for _, look := range []func(context.Context, *globals) []finding{lookAtDocker, lookAtNATS, lookAtDatabase, lookAtKey} {
				ctx, cancel := context.WithTimeout(c.Context(), 15*time.Second)
				found = append(found, look(ctx, g)...)
				cancel()
			}
			if err := tellFindings(c, g, found); err != nil {
				return err
			}
			for _, f := range found {
				if f.Verdict == verdictFail {
					return withCode(exitFailed, errors.New("something is wrong; the table says how to mend it"))
				}
			}
			return nil
		},
	}
}

func tellFindings(c *cobra.Command, g *globals, found []finding) error {
	if g.json() {
		enc := json.NewEncoder(c.OutOrStdout())
		enc.SetIndent("", "  ")
		return enc.Encode(found)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "CHECK\tVERDICT\tSEEN") // Flush tells
	for _, f := range found {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", f.Check, f.Verdict, f.Seen)
		if f.Mend != "" {
			_, _ = fmt.Fprintf(w, "\t\t  → %s\n", f.Mend)
		}
	}
	return w.Flush()
}

// leastMemory is what a small cluster of three nodes needs, in bytes.
const leastMemory = 2 << 30

func lookAtDocker(ctx context.Context, _ *globals) []finding {
	engine, err := docker.Open(docker.Options{Host: os.Getenv("PGFOREMAN_DOCKER_HOST"), Instance: "doctor", Log: zerolog.Nop()})
	if err != nil {
		return []finding{{"docker", verdictFail, err.Error(), "set DOCKER_HOST right, or unset it"}}
	}
	defer func() { _ = engine.Close() }()
	info, err := engine.Info(ctx)
	if err != nil {
		return []finding{{"docker", verdictFail, err.Error(), "start the Docker daemon, and let your user reach its socket (group docker)"}}
	}
	found := []finding{{"docker", verdictOK, fmt.Sprintf("Engine %s, API %s, %s", info.Version, info.APIVersion, info.OS), ""}}
	memory := finding{"memory", verdictOK, fmt.Sprintf("%.1f GiB, %d CPUs", float64(info.MemoryTotal)/(1<<30), info.CPUs), ""}
	if info.MemoryTotal < leastMemory {
		memory.Verdict, memory.Mend = verdictWarn, "a cluster of three nodes wants 4 GiB; create smaller ones with --nodes 1 --memory-mb 256"
	}
	found = append(found, memory, lookAtBridge(info))
	images := finding{"images", verdictOK, "all there", ""}
	if missing, err := engine.MissingImages(ctx); err != nil {
		images = finding{"images", verdictFail, err.Error(), "see docker above"}
	} else if len(missing) > 0 {
		images = finding{"images", verdictFail, fmt.Sprintf("missing: %v", missing), "build them: pgforeman image build"}
	}
	return append(found, images)
}

// lookAtBridge says whether containers can have networks of their own.
func lookAtBridge(info docker.Info) finding {
	for _, n := range info.NetworkDrivers {
		if n == "bridge" {
			return finding{"bridge", verdictOK, "the bridge driver is there", ""}
		}
	}
	return finding{"bridge", verdictFail, "the Engine has no bridge network driver", "start the daemon without --bridge=none, and load the kernel module bridge"}
}

func lookAtNATS(ctx context.Context, g *globals) []finding {
	url := fromEnv("PGFOREMAN_NATS_URL", g.server)
	opts, err := natsIdentity{g.creds, g.nkey, g.ca}.options("pgforeman doctor")
	if err != nil {
		return []finding{{"nats", verdictFail, err.Error(), "check --creds, --nkey and --nats-ca"}}
	}
	nc, err := nats.Connect(url, append(opts, nats.Timeout(5*time.Second))...)
	if err != nil {
		return []finding{{"nats", verdictFail, client.ConnectError(url, err).Error(), "start NATS (or pgforeman dev), or name the server with --server"}}
	}
	defer nc.Close()
	found := []finding{{"nats", verdictOK, fmt.Sprintf("%s, version %s", nc.ConnectedUrlRedacted(), nc.ConnectedServerVersion()), ""}}
	js, err := jetstream.New(nc)
	if err != nil {
		return append(found, finding{"jetstream", verdictFail, err.Error(), ""})
	}
	if _, err := js.AccountInfo(ctx); err != nil {
		return append(found, finding{"jetstream", verdictFail, err.Error(), "enable JetStream in the server's configuration (deployments/nats), with sync_interval: always"})
	}
	found = append(found, finding{"jetstream", verdictOK, "enabled", ""})
	stream, err := js.Stream(ctx, jobs.StreamRequests)
	if err != nil {
		return append(found, finding{"streams", verdictWarn, err.Error(), "a worker makes the streams when it starts"})
	}
	replicas := stream.CachedInfo().Config.Replicas
	f := finding{"streams", verdictOK, fmt.Sprintf("%s has %d replica(s)", jobs.StreamRequests, replicas), ""}
	if nc.ConnectedClusterName() != "" && replicas < 3 {
		f.Verdict, f.Mend = verdictWarn, "in a NATS cluster three replicas keep requests when a server dies: PGFOREMAN_STREAM_REPLICAS=3"
	}
	return append(found, f, finding{"sync interval", verdictSkipped, "a server tells it to its administrator only",
		"sync_interval: always in its jetstream block keeps acknowledged requests over a power cut"})
}

func lookAtDatabase(ctx context.Context, _ *globals) []finding {
	if os.Getenv("PGFOREMAN_DATABASE_URL") == "" && os.Getenv("PGFOREMAN_DATABASE_URL_FILE") == "" {
		return []finding{{"state database", verdictSkipped, "PGFOREMAN_DATABASE_URL is not set", ""}}
	}
	dsn, err := readDatabaseSettings()
	if err != nil {
		return []finding{{"state database", verdictFail, err.Error(), ""}}
	}
	schema, err := store.Status(ctx, dsn)
	switch {
	case err != nil:
		return []finding{{"state database", verdictFail, err.Error(), "check PGFOREMAN_DATABASE_URL and that PostgreSQL 14 or later answers there"}}
	case !schema.Current():
		return []finding{{"state database", verdictFail, fmt.Sprintf("schema version %d, this binary needs %d", schema.Version, schema.Wanted), "run: pgforeman migrate"}}
	}
	return []finding{{"state database", verdictOK, fmt.Sprintf("reachable, schema version %d", schema.Version), ""}}
}

func lookAtKey(ctx context.Context, _ *globals) []finding {
	path := os.Getenv("PGFOREMAN_KEY_FILE")
	if path == "" {
		return []finding{{"key file", verdictSkipped, "PGFOREMAN_KEY_FILE is not set", ""}}
	}
	keys, err := store.OpenKeyring(path)
	if err != nil {
		return []finding{{"key file", verdictFail, err.Error(), "make one: pgforeman key new > key && chmod 400 key"}}
	}
	dsn, err := readDatabaseSettings()
	if err != nil {
		return []finding{{"key file", verdictOK, path, ""}}
	}
	db, err := store.Open(ctx, store.Options{DSN: dsn, Keyring: keys, MaxConns: 1})
	if err != nil {
		return []finding{{"key file", verdictOK, path, ""}}
	}
	defer db.Close()
	missing, opens, err := db.MissingKeys(ctx)
	if err != nil { // lookAtDatabase says why
		return []finding{{"key file", verdictWarn, path + ", not compared with the state database", "see the state database above"}}
	}
	if fault := keyFault(missing, opens); fault != nil {
		return []finding{{"key file", verdictFail, fault.Error(), "copy the key file from a worker that works, or put the line of the missing key back"}}
	}
	return []finding{{"key file", verdictOK, fmt.Sprintf("%s opens all %d secrets", path, opens), ""}}
}
