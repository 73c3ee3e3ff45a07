package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"strings"
	"time"
)

// Unreadable is a message that no request can be read from: there is no id, or
// no tenant, to tell anybody about. It becomes a dead letter.
type Unreadable struct {
	// Tenant and Kind are from the subject; "_" stands for one that is not
	// usable, so that both always make a subject of a dead letter.
	Tenant string
	Kind   KindName
	Reason string // a sentence
}

// Error says why the message cannot be read.
func (u *Unreadable) Error() string { return u.Reason }

// UnknownKind is a request that this release does not know: of a later version
// of the contract, or of a kind that is not in the catalogue. Another worker
// may know it.
type UnknownKind struct {
	Kind    KindName
	Version string // "v2"; of the contract, or of CloudEvents
}

// Error says what is not known.
func (u *UnknownKind) Error() string {
	if u.Version != "" && u.Version != Version {
		return fmt.Sprintf("kind %s of version %s is not known here: upgrade the workers", u.Kind, u.Version)
	}
	return fmt.Sprintf("no worker knows the kind %s", u.Kind)
}

// nobody stands for a tenant or kind that cannot be used in a subject.
const nobody = "_"

// hardLimit is the size in bytes above which a message is not even searched for
// its id: NATS's own limit by default.
const hardLimit = 1 << 20

// ParseRequest reads a message of the requests' stream: CloudEvents 1.0 in
// structured mode, or in binary mode with ce- headers. The tenant and the kind
// are those of the subject, which NATS guards.
//
// The error is *Unreadable when there is nobody to tell; Faults, with all of
// the request filled in that could be read (tenant, id and kind always), when
// it is to be rejected; *UnknownKind, with the request filled in, when it is of
// another version. Whether the kind is in the catalogue is for the caller to say.
func ParseRequest(subject string, header map[string][]string, body []byte) (Request, error) {
	to, err := parseSubject(subject)
	if err != nil {
		return Request{}, err
	}
	env, err := readEnvelope(header, body)
	if err != nil {
		return Request{}, to.unreadable(err.Error())
	}
	id, err := env.id()
	if err != nil {
		return Request{}, to.unreadable(err.Error())
	}
	req := Request{
		Tenant: to.tenant, ID: id, Kind: to.kind,
		Data: env.data, Subject: subject, Header: header, Body: body,
	}
	if v := env.foreignVersion(to); v != "" {
		req.Cluster = env.anyCluster()
		req.Source = env.attr["source"]
		req.Actor, req.Hash = req.Source, hashOf(req)
		return req, &UnknownKind{Kind: to.kind, Version: v}
	}
	env.fill(&req, to)
	req.Hash = hashOf(req)
	return req, env.faults.Err()
}

// address is what a subject says.
type address struct {
	version string
	tenant  string
	kind    KindName
}

func (a address) unreadable(reason string) error {
	return &Unreadable{Tenant: a.tenant, Kind: a.kind, Reason: reason}
}

// parseSubject takes pgforeman.<version>.request.<tenant>.<kind…> apart.
func parseSubject(subject string) (address, error) {
	a := address{tenant: nobody, kind: nobody}
	tokens := strings.SplitN(subject, ".", 5)
	if len(tokens) != 5 || tokens[0] != Prefix || tokens[2] != "request" {
		return a, a.unreadable("the subject is not " + Prefix + "." + Version + ".request.<tenant>.<kind>")
	}
	a.version = tokens[1]
	if IsName(tokens[3]) {
		a.tenant = tokens[3]
	}
	if isKind(tokens[4]) {
		a.kind = KindName(tokens[4])
	}
	switch {
	case a.tenant == nobody:
		return a, a.unreadable("the tenant in the subject is not a DNS label of at most 40 characters")
	case a.kind == nobody:
		return a, a.unreadable("the kind in the subject is not like cluster.create: lower-case words with dots between them")
	}
	return a, nil
}

// fill checks every attribute and fills the request in; what is wrong goes to
// the envelope's faults.
func (e *envelope) fill(req *Request, to address) {
	if e.size > MaxBody {
		e.fault("", fmt.Sprintf("the message has %d bytes; at most %d are read", e.size, MaxBody))
	}
	e.need("specversion", `must be "1.0"`, func(s string) bool { return s == "1.0" })
	e.need("type", fmt.Sprintf("must be %q, as the subject of the message says", RequestTypeName(to.kind)),
		func(s string) bool { return s == RequestTypeName(to.kind) })
	if e.need("source", "must say who asks, in 1 to 512 printable characters",
		func(s string) bool { return printable(s, 512) }) {
		req.Source = e.attr["source"]
	}
	req.Actor = req.Source
	if t, ok := e.attr["tenant"]; ok && t != to.tenant {
		e.fault("tenant", fmt.Sprintf("differs from the tenant %q of the subject; leave it out", to.tenant))
	}
	if t, ok := e.attr["time"]; ok {
		at, err := time.Parse(time.RFC3339, t)
		if err != nil {
			e.fault("time", "must be like 2026-01-31T13:45:00Z (RFC 3339)")
		}
		req.Time = at
	}
	if t, ok := e.attr["datacontenttype"]; ok && !isJSONType(t) {
		e.fault("datacontenttype", "must be application/json")
	}
	req.Cluster = e.cluster(to.kind)
}

// cluster gives the cluster that the request names: the subject attribute, or
// the data's name where the kind is about a cluster as a whole.
func (e *envelope) cluster(kind KindName) string {
	name, given := e.attr["subject"]
	switch {
	case given && name != "":
		if !IsName(name) {
			e.fault("subject", "must be the cluster's name: "+nameRule)
			return ""
		}
		return name
	case strings.HasPrefix(string(kind), "operation."):
		return ""
	case strings.HasPrefix(string(kind), "cluster."):
		if name = e.anyCluster(); name != "" {
			return name
		}
		if e.dataHas("name") {
			e.fault("name", "must be "+nameRule)
			return ""
		}
	}
	e.fault("subject", "is missing: name the cluster")
	return ""
}

// anyCluster gives a usable cluster's name from wherever there is one.
func (e *envelope) anyCluster() string {
	if IsName(e.attr["subject"]) {
		return e.attr["subject"]
	}
	var data struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(e.data, &data) == nil && IsName(data.Name) {
		return data.Name
	}
	return ""
}

func (e *envelope) dataHas(field string) bool {
	var data map[string]json.RawMessage
	return json.Unmarshal(e.data, &data) == nil && data[field] != nil
}

// foreignVersion gives the version of the contract, or of CloudEvents, that the
// message is of when it is a later one than ours; "" when it is ours (or wrong).
func (e *envelope) foreignVersion(to address) string {
	if to.version != Version {
		return to.version
	}
	if rest, ok := strings.CutPrefix(e.attr["type"], Prefix+".v"); ok {
		if number, _, ok := strings.Cut(rest, "."); ok && isNumber(number) && "v"+number != Version {
			return "v" + number
		}
	}
	if major, _, _ := strings.Cut(e.attr["specversion"], "."); isNumber(major) && major > "1" {
		return "CloudEvents " + e.attr["specversion"]
	}
	return ""
}

func isNumber(s string) bool {
	return s != "" && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}

// isJSONType tells whether a media type is JSON.
func isJSONType(s string) bool {
	t, _, err := mime.ParseMediaType(s)
	return err == nil && (t == "application/json" || t == "text/json" || strings.HasSuffix(t, "+json"))
}

// hashOf is the digest of what a request asks, whatever the order of its fields
// and the space between them.
func hashOf(req Request) string {
	var data any
	if json.Unmarshal(req.Data, &data) != nil {
		data = string(req.Data)
	}
	canonical, err := json.Marshal([]any{req.Kind, req.Cluster, data})
	if err != nil {
		canonical = req.Body
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}
