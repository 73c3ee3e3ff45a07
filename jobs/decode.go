package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// DecodeStrict decodes JSON into the struct that into points to, by its json
// tags, and tells every fault at once, each with its path
// ("databases[1].owner"): fields that are not known, values of the wrong type,
// numbers out of range. Names count exactly as written. null is the same as a
// field left out. What is right is decoded even when something else is wrong.
func DecodeStrict(raw json.RawMessage, into any) Faults {
	var faults Faults
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = json.RawMessage("{}")
	}
	if err := checkJSON(raw, "", &faults); err != nil {
		faults.add("", err.Error())
		return faults
	}
	d := decoder{faults: faults}
	d.value("", raw, reflect.ValueOf(into).Elem())
	return d.faults
}

// decoder collects the faults of one DecodeStrict.
type decoder struct{ faults Faults }

func (d *decoder) wrong(path, want string, raw json.RawMessage) {
	d.faults.add(path, fmt.Sprintf("must be %s, not %s", want, jsonType(raw)))
}

// value decodes raw, which is valid JSON, into v.
func (d *decoder) value(path string, raw json.RawMessage, v reflect.Value) {
	raw = bytes.TrimSpace(raw)
	if string(raw) == "null" && path != "" {
		return
	}
	if u, ok := v.Addr().Interface().(json.Unmarshaler); ok {
		if err := u.UnmarshalJSON(raw); err != nil {
			d.faults.add(path, err.Error())
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		before := len(d.faults)
		d.value(path, raw, fresh.Elem())
		if len(d.faults) == before {
			v.Set(fresh)
		}
	case reflect.Struct:
		d.object(path, raw, v)
	case reflect.Slice:
		d.list(path, raw, v)
	case reflect.Map:
		d.dictionary(path, raw, v)
	default:
		d.scalar(path, raw, v)
	}
}

// scalar decodes a string, a truth value or a number.
func (d *decoder) scalar(path string, raw json.RawMessage, v reflect.Value) {
	switch {
	case v.Kind() == reflect.String:
		var s string
		if json.Unmarshal(raw, &s) != nil {
			d.wrong(path, "a string", raw)
			return
		}
		v.SetString(s)
	case v.Kind() == reflect.Bool:
		var b bool
		if json.Unmarshal(raw, &b) != nil {
			d.wrong(path, "true or false", raw)
			return
		}
		v.SetBool(b)
	case v.CanInt():
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || v.OverflowInt(n) {
			d.wholeNumber(path, raw)
			return
		}
		v.SetInt(n)
	case v.CanFloat():
		n, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || jsonType(raw) != "a number" {
			d.wrong(path, "a number", raw)
			return
		}
		v.SetFloat(n)
	default:
		d.faults.add(path, "cannot be given")
	}
}

// wholeNumber tells that raw is none, or is out of range.
func (d *decoder) wholeNumber(path string, raw json.RawMessage) {
	if jsonType(raw) == "a number" {
		d.faults.add(path, fmt.Sprintf("must be a whole number, not %.20s", raw))
		return
	}
	d.wrong(path, "a whole number", raw)
}

func (d *decoder) list(path string, raw json.RawMessage, v reflect.Value) {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		d.wrong(path, "a list", raw)
		return
	}
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.value(element(path, i), item, list.Index(i))
	}
	v.Set(list)
}

func (d *decoder) dictionary(path string, raw json.RawMessage, v reflect.Value) {
	members, ok := d.members(path, raw)
	if !ok {
		return
	}
	m := reflect.MakeMap(v.Type())
	for _, name := range sortedKeys(members) {
		item := reflect.New(v.Type().Elem()).Elem()
		before := len(d.faults)
		d.value(member(path, name), members[name], item)
		if len(d.faults) == before && string(members[name]) != "null" {
			m.SetMapIndex(reflect.ValueOf(name), item)
		}
	}
	v.Set(m)
}

func (d *decoder) object(path string, raw json.RawMessage, v reflect.Value) {
	members, ok := d.members(path, raw)
	if !ok {
		return
	}
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = v.Field(i)
		}
	}
	for _, name := range sortedKeys(members) {
		field, known := fields[name]
		if !known {
			d.faults.add(member(path, name), "is not a field; the fields are "+strings.Join(sortedKeys(fields), ", "))
			continue
		}
		d.value(member(path, name), members[name], field)
	}
}

// members takes an object apart.
func (d *decoder) members(path string, raw json.RawMessage) (map[string]json.RawMessage, bool) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil || members == nil {
		if path == "" {
			path = "data"
		}
		d.wrong(path, "an object", raw)
		return nil, false
	}
	return members, true
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// jsonType names the type of a JSON value, for people.
func jsonType(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}
