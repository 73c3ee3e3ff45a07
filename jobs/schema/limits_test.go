package schema_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/schema"
)

// TestLimits gives documents to the schema and to the decoder, which have to
// agree on every one.
func TestLimits(t *testing.T) {
	doc := load(t, "request.cluster.create")
	data := object{"$ref": "#/$defs/ClusterSpec"}
	for document, fine := range map[string]bool{
		`{}`: true, `[]`: false, `{"nodes":1}`: true, `{"nodes":9}`: true, `{"nodes":0}`: false, `{"nodes":10}`: false,
		`{"nodes":"3"}`: false, `{"nodes":3.5}`: false, `{"Nodes":3}`: false, `{"name":"orders"}`: true, `{"name":"Orders"}`: false,
		`{"etcd_members":1}`: true, `{"etcd_members":2}`: false, `{"etcd_members":3}`: true, `{"etcd_members":5}`: false,
		`{"proxies":1}`: true, `{"proxies":2}`: true, `{"proxies":0}`: false, `{"proxies":3}`: false,
		`{"postgres_version":"17"}`: true, `{"postgres_version":"16"}`: false, `{"postgres_version":17}`: false,
		`{"cpus":0}`: true, `{"cpus":64}`: true, `{"cpus":0.5}`: true, `{"cpus":-1}`: false, `{"cpus":64.5}`: false, `{"cpus":"1"}`: false,
		`{"memory_mb":256}`: true, `{"memory_mb":1048576}`: true, `{"memory_mb":255}`: false, `{"memory_mb":1048577}`: false,
		`{"synchronous_mode":"on"}`: true, `{"synchronous_mode":"off"}`: true, `{"synchronous_mode":"strict"}`: true, `{"synchronous_mode":"yes"}`: false,
		`{"parameters":{"a":"b","c":1,"d":1.5,"e":true}}`: true, `{"parameters":{"a":{}}}`: false, `{"parameters":{"a":[]}}`: false, `{"parameters":[]}`: false,
		`{"users":[{"name":"a"}]}`: true, `{"users":[{}]}`: false, `{"users":[{"name":"A"}]}`: false, `{"users":[{"name":"a","password":"x"}]}`: false,
		`{"databases":[{"name":"d"}]}`: true, `{"databases":[{"owner":"app"}]}`: false, `{"databases":{}}`: false,
		`{"primary_port":0}`: true, `{"primary_port":1023}`: false, `{"primary_port":1024}`: true, `{"primary_port":65535}`: true, `{"primary_port":65536}`: false,
		`{"replica_port":0}`: true, `{"replica_port":80}`: false,
		`{"labels":{"a":"b"}}`: true, `{"labels":{"a":1}}`: false, `{"bind_address":"0.0.0.0"}`: true, `{"bind_address":1}`: false,
		`{"on_failure":"keep"}`: true, `{"on_failure":"rollback"}`: true, `{"on_failure":"x"}`: false,
		`{"timeout_seconds":0}`: true, `{"timeout_seconds":30}`: true, `{"timeout_seconds":29}`: false, `{"timeout_seconds":86401}`: false,
		`{"parameters":` + many(200) + `}`: true, `{"parameters":` + many(201) + `}`: false,
		`{"labels":` + many(32) + `}`: true, `{"labels":` + many(33) + `}`: false,
	} {
		_, faults := jobs.DecodeClusterSpec(jobs.Request{Cluster: "orders", Data: json.RawMessage(document)})
		require.Equalf(t, fine, len(faults) == 0, "the decoder on %s: %v", document, faults)
		err := validate(doc, data, parse(t, document))
		require.Equalf(t, fine, err == nil, "the schema on %s: %v", document, err)
	}
}

func many(n int) string {
	var items []string
	for i := range n {
		items = append(items, fmt.Sprintf(`"k%d":"v"`, i))
	}
	return "{" + strings.Join(items, ",") + "}"
}

// TestDefaults compares the schema's defaults with what the decoder fills in.
func TestDefaults(t *testing.T) {
	spec, faults := jobs.DecodeClusterSpec(jobs.Request{Cluster: "orders", Data: json.RawMessage(`{}`)})
	require.NoError(t, faults.Err())
	value := reflect.ValueOf(spec)
	properties := load(t, "request.cluster.create")["$defs"].(object)["ClusterSpec"].(object)["properties"].(object)
	for i := range value.NumField() {
		name, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("json"), ",")
		if want, ok := properties[name].(object)["default"]; ok {
			require.Equal(t, fmt.Sprint(want), fmt.Sprint(value.Field(i).Interface()), name)
		}
	}
}

// TestMessagesFitTheirSchemas validates what the Go types write.
func TestMessagesFitTheirSchemas(t *testing.T) {
	for name, message := range map[string]any{
		"event":                jobs.Event{Data: jobs.EventData{Seq: 1, Step: &jobs.EventStep{}, Error: &jobs.Error{Faults: jobs.Faults{{}}}, Endpoints: &jobs.Endpoints{}}},
		"dead-letter":          jobs.DeadLetter{Error: &jobs.Error{}, Original: []byte("x"), Attempts: []jobs.AttemptRecord{{}}},
		"answer.cluster.get":   jobs.ClusterView{Nodes: []jobs.NodeView{{}}, Spec: spec(t)},
		"answer.operation.get": jobs.OperationView{Steps: []jobs.StepView{{Observation: &jobs.Observation{}}}},
		"answer.dead.list":     []jobs.DeadLetterView{{}},
	} {
		doc := load(t, name)
		raw, err := json.Marshal(message)
		require.NoError(t, err)
		require.NoErrorf(t, validate(doc, doc, parse(t, string(raw))), "%s: %s", name, raw)
	}
	doc := load(t, "request.cluster.create")
	good := `{"specversion":"1.0","id":"a","source":"s","type":"pgforeman.v1.cluster.create","subject":"orders","data":{"nodes":3}}`
	require.NoError(t, validate(doc, doc, parse(t, good)))
	require.Error(t, validate(doc, doc, parse(t, strings.Replace(good, "create", "delete", 1))))
	require.Error(t, validate(doc, doc, parse(t, strings.Replace(good, `"id":"a",`, "", 1))))
}

// TestReferencesResolve follows every $ref of every document.
func TestReferencesResolve(t *testing.T) {
	for _, name := range schema.Names() {
		doc := load(t, name)
		var walk func(v any)
		walk = func(v any) {
			switch v := v.(type) {
			case object:
				if ref, ok := v["$ref"].(string); ok {
					require.NotNilf(t, resolve(doc, ref), "%s: %s", name, ref)
				}
				for _, x := range v {
					walk(x)
				}
			case []any:
				for _, x := range v {
					walk(x)
				}
			}
		}
		walk(doc)
	}
}

func spec(t *testing.T) jobs.ClusterSpec {
	t.Helper()
	s, faults := jobs.DecodeClusterSpec(jobs.Request{Cluster: "orders", Data: json.RawMessage(`{}`)})
	require.NoError(t, faults.Err())
	return s
}

func load(t *testing.T, name string) object {
	t.Helper()
	raw, err := schema.Read(name)
	require.NoError(t, err)
	doc, ok := parse(t, string(raw)).(object)
	require.True(t, ok)
	return doc
}

func parse(t *testing.T, document string) any {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal([]byte(document), &v), document)
	return v
}

func resolve(doc object, ref string) any {
	var at any = doc
	for _, key := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		next, _ := at.(object)
		at = next[key]
	}
	return at
}

// validate is as much of JSON Schema as the documents use.
func validate(doc, s object, v any) error {
	if ref, ok := s["$ref"].(string); ok {
		target, _ := resolve(doc, ref).(object)
		if err := validate(doc, target, v); err != nil {
			return err
		}
	}
	if want, ok := s["const"]; ok && !reflect.DeepEqual(want, v) {
		return fmt.Errorf("%v is not %v", v, want)
	}
	if list, ok := s["enum"].([]any); ok && !contains(list, v) {
		return fmt.Errorf("%v is none of %v", v, list)
	}
	if want, ok := s["type"]; ok && !isType(want, v) {
		return fmt.Errorf("%v is not of type %v", v, want)
	}
	if list, ok := s["anyOf"].([]any); ok {
		fits := false
		for _, alternative := range list {
			fits = fits || validate(doc, alternative.(object), v) == nil
		}
		if !fits {
			return fmt.Errorf("%v fits none of %v", v, list)
		}
	}
	switch v := v.(type) {
	case float64:
		low, hasLow := s["minimum"].(float64)
		high, hasHigh := s["maximum"].(float64)
		if hasLow && v < low || hasHigh && v > high {
			return fmt.Errorf("%v is out of range", v)
		}
	case string:
		limit, limited := s["maxLength"].(float64)
		pattern, _ := s["pattern"].(string)
		if limited && utf8.RuneCountInString(v) > int(limit) || !regexp.MustCompile(pattern).MatchString(v) {
			return fmt.Errorf("%q does not fit", v)
		}
	case []any:
		if limit, ok := s["maxItems"].(float64); ok && len(v) > int(limit) {
			return fmt.Errorf("%d items", len(v))
		}
		items, _ := s["items"].(object)
		for _, item := range v {
			if err := validate(doc, items, item); err != nil {
				return err
			}
		}
	case object:
		return validateObject(doc, s, v)
	}
	return nil
}

func validateObject(doc, s, v object) error {
	if limit, ok := s["maxProperties"].(float64); ok && len(v) > int(limit) {
		return fmt.Errorf("%d properties", len(v))
	}
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, there := v[name.(string)]; !there {
			return fmt.Errorf("%v is missing", name)
		}
	}
	properties, _ := s["properties"].(object)
	for name, x := range v {
		p, known := properties[name].(object)
		if !known {
			if s["additionalProperties"] == false {
				return fmt.Errorf("%s is not known", name)
			}
			p, _ = s["additionalProperties"].(object)
		}
		if err := validate(doc, p, x); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func contains(list []any, v any) bool {
	for _, x := range list {
		if reflect.DeepEqual(x, v) {
			return true
		}
	}
	return false
}

func isType(want, v any) bool {
	if list, ok := want.([]any); ok {
		for _, w := range list {
			if isType(w, v) {
				return true
			}
		}
		return false
	}
	switch v := v.(type) {
	case string:
		return want == "string"
	case bool:
		return want == "boolean"
	case float64:
		return want == "number" || want == "integer" && v == float64(int64(v))
	case []any:
		return want == "array"
	case object:
		return want == "object"
	}
	return false
}
