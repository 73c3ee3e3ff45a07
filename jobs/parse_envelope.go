package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"sort"
	"strings"
	"unicode/utf8"
)

// envelope is a CloudEvents message taken apart: its attributes as strings and
// its data as JSON (an object when there is none).
type envelope struct {
	attr   map[string]string
	data   json.RawMessage
	size   int
	faults Faults
}

func (e *envelope) fault(field, message string) { e.faults.add(field, message) }

// need checks an attribute that must be there.
func (e *envelope) need(name, rule string, ok func(string) bool) bool {
	s, given := e.attr[name]
	switch {
	case !given:
		e.fault(name, "is missing: "+rule)
	case !ok(s):
		e.fault(name, rule)
	default:
		return true
	}
	return false
}

// id gives the request's id; the error says why there is none.
func (e *envelope) id() (string, error) {
	id, given := e.attr["id"]
	switch {
	case !given:
		return "", errors.New("the message has no id")
	case !printable(id, 128):
		return "", errors.New("the id is not 1 to 128 printable characters")
	}
	return id, nil
}

// readEnvelope reads a message in either mode. The error is for a message from
// which no id can be read.
func readEnvelope(header map[string][]string, body []byte) (*envelope, error) {
	attrs, contentType, err := ceHeaders(header)
	if err != nil {
		return nil, err
	}
	if t, _, err := mime.ParseMediaType(contentType); err == nil && t == "application/cloudevents+json" || len(attrs) == 0 {
		return structured(body)
	}
	e := &envelope{attr: attrs, data: body, size: len(body)}
	if contentType != "" {
		e.attr["datacontenttype"] = contentType
	}
	e.checkData()
	return e, nil
}

// ceHeaders gives the attributes in ce- headers, percent-decoded as the binding
// of CloudEvents to NATS has it, and the content type. Names count in any case.
func ceHeaders(header map[string][]string) (attrs map[string]string, contentType string, err error) {
	attrs = map[string]string{}
	for key, values := range header {
		name := strings.ToLower(key)
		if name == "content-type" && len(values) > 0 {
			contentType = values[0]
		}
		name, ok := strings.CutPrefix(name, "ce-")
		if !ok || len(values) == 0 {
			continue
		}
		if _, twice := attrs[name]; twice || len(values) > 1 {
			return nil, "", fmt.Errorf("the header %.40q is given twice", "ce-"+name)
		}
		value, err := url.PathUnescape(values[0])
		if err != nil || !utf8.ValidString(value) {
			return nil, "", fmt.Errorf("the header %.40q is not percent-encoded UTF-8", "ce-"+name)
		}
		attrs[name] = value
	}
	return attrs, contentType, nil
}

// checkData checks the data of binary mode.
func (e *envelope) checkData() {
	if len(e.data) > hardLimit {
		e.data = nil
	} else if err := checkJSON(e.data, "", &e.faults); err != nil && len(bytes.TrimSpace(e.data)) > 0 {
		e.fault("data", err.Error())
		e.data = nil
	}
	e.emptyData()
}

// emptyData puts an object in the place of data that is not there.
func (e *envelope) emptyData() {
	e.data = bytes.TrimSpace(e.data)
	if len(e.data) == 0 || string(e.data) == "null" {
		e.data = json.RawMessage("{}")
	}
}

// structured reads a message that is one JSON object.
func structured(body []byte) (*envelope, error) {
	if len(body) > hardLimit {
		return nil, fmt.Errorf("the message has %d bytes; at most %d are read", len(body), MaxBody)
	}
	e := &envelope{attr: map[string]string{}, size: len(body)}
	if err := checkJSON(body, "", &e.faults); err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return nil, errors.New("the message is not a JSON object")
	}
	for _, f := range e.faults {
		if f.Field == "id" {
			return nil, errors.New("the id is given twice")
		}
	}
	e.data = fields["data"]
	delete(fields, "data")
	e.attributes(fields)
	e.emptyData()
	return e, nil
}

// attributes takes the attributes of structured mode: strings, and of
// extensions any scalar.
func (e *envelope) attributes(fields map[string]json.RawMessage) {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		raw := fields[name]
		var s string
		switch {
		case string(raw) == "null":
		case name == "data_base64":
			e.fault(name, "is not read: give the data as JSON, in data")
		case raw[0] == '"' && json.Unmarshal(raw, &s) == nil:
			e.attr[name] = s
		case knownAttribute(name):
			e.fault(name, "must be a string")
		}
	}
}

func knownAttribute(name string) bool {
	switch name {
	case "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "tenant":
		return true
	}
	return false
}
