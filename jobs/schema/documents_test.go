package schema_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/schema"
)

var update = flag.Bool("update", false, "write the documents")

// requestData is the data of each kind of request.
var requestData = map[jobs.KindName]reflect.Type{
	jobs.ClusterCreate:    reflect.TypeFor[jobs.ClusterSpec](),
	jobs.ClusterDelete:    reflect.TypeFor[jobs.DeleteSpec](),
	jobs.ClusterRotate:    reflect.TypeFor[jobs.RotateSpec](),
	jobs.OperationCancel:  reflect.TypeFor[jobs.ControlSpec](),
	jobs.OperationReplay:  reflect.TypeFor[jobs.ControlSpec](),
	jobs.OperationDiscard: reflect.TypeFor[jobs.ControlSpec](),
}

// answerTo is the answer to each query; a list is a slice.
var answerTo = map[string]reflect.Type{
	jobs.QueryClusterGet:   reflect.TypeFor[jobs.ClusterView](),
	jobs.QueryClusterList:  reflect.TypeFor[[]jobs.ClusterView](),
	jobs.QueryStatus:       reflect.TypeFor[jobs.StatusView](),
	jobs.QueryCredentials:  reflect.TypeFor[jobs.Credentials](),
	jobs.QueryOperationGet: reflect.TypeFor[jobs.OperationView](),
	jobs.QueryOperations:   reflect.TypeFor[[]jobs.OperationView](),
	jobs.QueryDeadList:     reflect.TypeFor[[]jobs.DeadLetterView](),
	jobs.QueryDeadGet:      reflect.TypeFor[jobs.DeadLetter](),
	jobs.QueryAudit:        reflect.TypeFor[[]jobs.AuditView](),
}

const (
	namePattern       = `^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`
	identifierPattern = `^[a-z_][a-z0-9_]{0,62}$`
)

// limits are the keywords that the Go types do not say. TestLimits compares
// them with what the decoder takes.
func limits() map[string]object {
	port := object{"default": 0, "anyOf": []any{object{"const": 0}, object{"minimum": 1024, "maximum": 65535}}}
	return map[string]object{
		"ClusterSpec.name":             {"pattern": namePattern, "description": "DNS label, at most 40 characters; may be left out where the subject names the cluster"},
		"ClusterSpec.nodes":            {"minimum": 1, "maximum": 9, "default": 3},
		"ClusterSpec.etcd_members":     {"enum": []any{1, 3}, "default": 3},
		"ClusterSpec.proxies":          {"minimum": 1, "maximum": 2, "default": 1},
		"ClusterSpec.postgres_version": {"enum": []any{"17"}, "default": "17"},
		"ClusterSpec.cpus":             {"minimum": 0, "maximum": 64, "default": 0},
		"ClusterSpec.memory_mb":        {"minimum": 256, "maximum": 1048576, "default": 1024},
		"ClusterSpec.synchronous_mode": {"enum": []any{"off", "on", "strict"}, "description": "default: on where there are two nodes or more, else off; strict needs two"},
		"ClusterSpec.parameters": {"maxProperties": 200, "description": "PostgreSQL settings",
			"additionalProperties": object{"type": []any{"string", "number", "boolean"}, "maxLength": 1024}},
		"ClusterSpec.databases":       {"maxItems": 50},
		"ClusterSpec.users":           {"maxItems": 50},
		"ClusterSpec.primary_port":    port,
		"ClusterSpec.replica_port":    port,
		"ClusterSpec.bind_address":    {"default": "127.0.0.1", "description": "an IP address of the host"},
		"ClusterSpec.labels":          {"maxProperties": 32},
		"ClusterSpec.on_failure":      {"enum": []any{"keep", "rollback"}, "default": "keep"},
		"ClusterSpec.timeout_seconds": {"default": 0, "anyOf": []any{object{"const": 0}, object{"minimum": 30, "maximum": 86400}}},
		"DatabaseSpec.name":           {"pattern": identifierPattern, "required": true},
		"DatabaseSpec.owner":          {"default": "app"},
		"UserSpec.name":               {"pattern": identifierPattern, "required": true},
		"DeleteSpec.name":             {"pattern": namePattern},
		"RotateSpec.name":             {"pattern": namePattern},
		"RotateSpec.certificates":     {"const": true, "required": true},
		"ControlSpec.reason":          {"maxLength": 500},
		"Query.limit":                 {"minimum": 0},
		"EventData.percent":           {"minimum": 0, "maximum": 100},
		"EventData.seq":               {"minimum": 1},
	}
}

func newBuilder(src source, prefix string) *builder {
	return &builder{
		src: src, prefix: prefix, defs: object{}, limits: limits(),
		inputs: map[string]bool{"ClusterSpec": true, "DatabaseSpec": true, "UserSpec": true, "DeleteSpec": true, "RotateSpec": true, "ControlSpec": true, "Query": true},
	}
}

// envelope is a request as a CloudEvent of structured mode.
func envelope(kind jobs.KindName, data object) object {
	e := object{
		"type":     "object",
		"required": []string{"specversion", "id", "source", "type"},
		"properties": object{
			"specversion": object{"const": "1.0"},
			"id": object{"type": "string", "minLength": 1, "maxLength": 128,
				"description": "names the request for ever, together with the tenant: the same again changes nothing, another content under a used id is rejected"},
			"source":          object{"type": "string", "minLength": 1, "maxLength": 512, "description": "who asks"},
			"type":            object{"const": jobs.RequestTypeName(kind)},
			"subject":         object{"type": "string", "pattern": namePattern, "description": "the cluster's name"},
			"time":            object{"type": "string", "format": "date-time"},
			"datacontenttype": object{"type": "string", "default": "application/json"},
			"data":            data,
		},
	}
	if strings.HasPrefix(string(kind), "operation.") {
		delete(e["properties"].(object), "subject")
	}
	return e
}

// documents are all of them by name.
func documents(src source) map[string]object {
	docs := map[string]object{"asyncapi": asyncAPI(src)}
	add := func(name, title string, make func(b *builder) object) {
		b := newBuilder(src, "#/$defs/")
		doc := make(b)
		doc["$schema"] = "https://json-schema.org/draft/2020-12/schema"
		doc["$id"] = "https://github.com/vcs-iaas/pgforeman/jobs/schema/v1/" + name + ".json"
		doc["title"] = title
		if len(b.defs) > 0 {
			doc["$defs"] = b.defs
		}
		docs[name] = doc
	}
	for kind, data := range requestData {
		add("request."+string(kind), "A request: "+string(kind), func(b *builder) object { return envelope(kind, b.of(data)) })
	}
	for what, answer := range answerTo {
		add("answer."+what, "The answer to "+what, func(b *builder) object { return b.of(answer) })
	}
	for name, t := range map[string]reflect.Type{
		"event": reflect.TypeFor[jobs.Event](), "dead-letter": reflect.TypeFor[jobs.DeadLetter](),
		"query": reflect.TypeFor[jobs.Query](), "error": reflect.TypeFor[jobs.Error](),
	} {
		add(name, "A "+strings.ReplaceAll(name, "-", " "), func(b *builder) object { return b.of(t) })
	}
	return docs
}

// TestDocumentsAreFresh compares the files with the Go types; -update writes
// them.
func TestDocumentsAreFresh(t *testing.T) {
	src := readSource(t)
	docs := documents(src)
	if *update {
		old, err := filepath.Glob("v1/*.json")
		require.NoError(t, err)
		for _, path := range old {
			require.NoError(t, os.Remove(path))
		}
		require.NoError(t, os.MkdirAll("v1", 0o755))
	}
	for name, doc := range docs {
		want := write(t, doc)
		path := filepath.Join("v1", name+".json")
		if *update {
			require.NoError(t, os.WriteFile(path, want, 0o644))
			continue
		}
		got, err := schema.Read(name)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "older than the Go types: go test ./jobs/schema -update")
	}
	if !*update {
		require.Equal(t, slices.Sorted(maps.Keys(docs)), schema.Names())
	}
	_, err := schema.Read("nothing")
	require.ErrorIs(t, err, schema.ErrUnknown)

	// Whoever adds a kind or a query tells its data here.
	for kind := range src.constants["KindName"] {
		require.Contains(t, requestData, jobs.KindName(kind))
	}
	for what := range src.constants["Query"] {
		require.Contains(t, answerTo, what)
	}
}

func write(t *testing.T, doc object) []byte {
	t.Helper()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	require.NoError(t, enc.Encode(doc))
	return out.Bytes()
}
