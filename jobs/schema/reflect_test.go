package schema_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// object is a JSON object; encoding/json sorts its keys.
type object = map[string]any

// builder makes schemas of Go types; named ones go to defs.
type builder struct {
	src    source
	prefix string // of references: "#/$defs/"
	defs   object
	limits map[string]object // "Type.json_name" → keywords that the type does not say
	inputs map[string]bool   // types that are read strictly
}

func (b *builder) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return object{}
	case reflect.TypeFor[[]byte]():
		return object{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return b.of(t.Elem())
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": b.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": b.of(t.Elem())}
	case reflect.Struct:
		return b.structure(t)
	case reflect.String:
		return b.word(t)
	default:
		return object{}
	}
}

// word is a string; one of a named type has a description, and its values where
// the contract will not get more of them by and by.
func (b *builder) word(t reflect.Type) object {
	s := object{"type": "string"}
	if values := b.src.constants[t.Name()]; t.PkgPath() != "" && len(values) > 0 {
		s["examples"] = slices.Sorted(maps.Keys(values))
	}
	return s
}

func (b *builder) structure(t reflect.Type) object {
	ref := object{"$ref": b.prefix + t.Name()}
	if _, done := b.defs[t.Name()]; done {
		return ref
	}
	properties, required := object{}, []string{}
	def := object{"type": "object", "properties": properties}
	if c := b.src.comments[t.Name()]; c != "" {
		def["description"] = c
	}
	b.defs[t.Name()] = def
	b.fields(t, properties, &required)
	if b.inputs[t.Name()] {
		def["additionalProperties"] = false
		required = slices.DeleteFunc(required, func(name string) bool { return b.limits[t.Name()+"."+name]["required"] == nil })
	}
	for _, p := range properties {
		delete(p.(object), "required") // a mark in limits, no keyword of a property
	}
	if len(required) > 0 {
		def["required"] = required
	}
	return ref
}

func (b *builder) fields(t reflect.Type, properties object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			b.fields(f.Type, properties, required)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		p := b.of(f.Type)
		if c := b.src.comments[t.Name()+"."+f.Name]; c != "" {
			p["description"] = c
		}
		for k, v := range b.limits[t.Name()+"."+name] {
			if v == nil {
				delete(p, k)
			} else {
				p[k] = v
			}
		}
		properties[name] = p
		if !strings.Contains(options, "omitempty") {
			*required = append(*required, name)
		}
	}
}
