package schema_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// asyncAPI is the contract's subjects and messages as an AsyncAPI 3 document,
// written as the portal sees it: it sends requests and queries, and receives
// events, dead letters and answers.
func asyncAPI(src source) object {
	b := newBuilder(src, "#/components/schemas/")
	a := &apiDocument{b: b, channels: object{}, operations: object{}, messages: object{}}
	for _, kind := range slices.Sorted(maps.Keys(requestData)) {
		a.request(kind)
	}
	a.events()
	a.deadLetters()
	for _, what := range slices.Sorted(maps.Keys(answerTo)) {
		a.query(what)
	}
	return object{
		"asyncapi": "3.0.0",
		"info": object{
			"title": "pgforeman", "version": "1.0.0",
			"description": "PostgreSQL high-availability clusters on request, over NATS JetStream. Messages are CloudEvents 1.0 in JSON.",
			"license":     object{"name": "Apache-2.0"},
		},
		"defaultContentType": "application/json",
		"servers": object{"nats": object{
			"host": "{host}", "protocol": "nats",
			"variables": object{"host": object{"default": "127.0.0.1:4222"}},
		}},
		"channels":   a.channels,
		"operations": a.operations,
		"components": object{"schemas": b.defs, "messages": a.messages},
	}
}

type apiDocument struct {
	b                              *builder
	channels, operations, messages object
}

// identifier makes a key of a name with dots.
func identifier(parts ...string) string {
	return strings.NewReplacer(".", "_", "-", "_").Replace(strings.Join(parts, "_"))
}

func parameters(names ...string) object {
	about := map[string]string{
		"tenant": "a DNS label of at most 40 characters", "cluster": "the cluster's name, or _ where there is none",
		"type": "the event's type, with its dots: operation.accepted", "kind": "the kind of the request, with its dots",
	}
	p := object{}
	for _, n := range names {
		p[n] = object{"description": about[n]}
	}
	return p
}

func (a *apiDocument) message(key, title string, payload object) object {
	a.messages[key] = object{"name": key, "title": title, "contentType": "application/json", "payload": payload}
	return object{"$ref": "#/components/messages/" + key}
}

func (a *apiDocument) channel(key, address, about, message string, ref object, params object) object {
	a.channels[key] = object{"address": address, "description": about, "parameters": params, "messages": object{message: ref}}
	return object{"$ref": "#/channels/" + key}
}

func (a *apiDocument) request(kind jobs.KindName) {
	key := identifier("request", string(kind))
	ref := a.message(key, "Request "+string(kind), envelope(kind, a.b.of(requestData[kind])))
	ch := a.channel(key, jobs.RequestSubject("{tenant}", kind), "Stream "+jobs.StreamRequests+"; wait for the PubAck.", key, ref, parameters("tenant"))
	a.operations[key] = object{"action": "send", "channel": ch, "summary": "Ask for " + string(kind)}
}

func (a *apiDocument) events() {
	ref := a.message("event", "Event", a.b.of(reflect.TypeFor[jobs.Event]()))
	types := strings.Join(slices.Sorted(maps.Keys(a.b.src.constants["EventType"])), ", ")
	ch := a.channel("events", jobs.EventSubject("{tenant}", "{cluster}", "{type}"),
		"Stream "+jobs.StreamEvents+". Types: "+types+".", "event", ref, parameters("tenant", "cluster", "type"))
	a.operations["events"] = object{"action": "receive", "channel": ch, "summary": "Progress and facts, in order, at least once"}
}

func (a *apiDocument) deadLetters() {
	ref := a.message("dead_letter", "Dead letter", a.b.of(reflect.TypeFor[jobs.DeadLetter]()))
	ch := a.channel("dead_letters", jobs.DeadSubject("{tenant}", "{kind}"),
		"Stream "+jobs.StreamDead+"; for operators.", "dead_letter", ref, parameters("tenant", "kind"))
	a.operations["dead_letters"] = object{"action": "receive", "channel": ch, "summary": "What needs a person"}
}

func (a *apiDocument) query(what string) {
	key, answer := identifier("query", what), identifier("answer", what)
	ref := a.message(key, "Query "+what, a.b.of(reflect.TypeFor[jobs.Query]()))
	ch := a.channel(key, jobs.QuerySubject("{tenant}", what), "Core NATS, request and reply; a NATS micro service answers.", key, ref, parameters("tenant"))
	failure := object{"type": "object", "required": []string{"error"}, "properties": object{"error": a.b.of(reflect.TypeFor[jobs.Error]())}}
	replies := object{
		answer:  a.message(answer, "Answer to "+what, a.b.of(answerTo[what])),
		"error": a.message("error", "Error: has the header "+jobs.HeaderErrorCode, failure),
	}
	a.channels[answer] = object{"address": nil, "description": "The reply subject.", "messages": replies}
	a.operations[key] = object{
		"action": "send", "channel": ch, "summary": "Ask for " + what,
		"reply": object{"address": object{"location": "$message.header#/reply"}, "channel": object{"$ref": "#/channels/" + answer}},
	}
}
