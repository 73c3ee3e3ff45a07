package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep objects and arrays of a request may be nested.
const maxDepth = 32

// checkJSON reads one JSON value to its end. The error says why nothing can be
// taken from it: not UTF-8, not JSON, nested too deep. Keys given twice and NUL
// characters, which PostgreSQL cannot store, are faults.
func checkJSON(raw []byte, path string, faults *Faults) error {
	if !utf8.Valid(raw) {
		return errors.New("the message is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := walkJSON(dec, path, 0, faults); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the JSON ends too early")
		}
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON")
	}
	return nil
}

// walkJSON reads one value.
func walkJSON(dec *json.Decoder, path string, depth int, faults *Faults) error {
	token, err := nextToken(dec)
	if err != nil {
		return err
	}
	switch t := token.(type) {
	case string:
		if strings.ContainsRune(t, 0) {
			faults.add(path, "holds a NUL character")
		}
	case json.Delim:
		if depth == maxDepth {
			return fmt.Errorf("the JSON is nested deeper than %d", maxDepth)
		}
		if t == '{' {
			return walkObject(dec, path, depth+1, faults)
		}
		for i := 0; dec.More(); i++ {
			if err := walkJSON(dec, element(path, i), depth+1, faults); err != nil {
				return err
			}
		}
		_, err = nextToken(dec)
	}
	return err
}

func walkObject(dec *json.Decoder, path string, depth int, faults *Faults) error {
	seen := map[string]bool{}
	for dec.More() {
		token, err := nextToken(dec)
		if err != nil {
			return err
		}
		key, _ := token.(string)
		at := member(path, key)
		if seen[key] {
			faults.add(at, "is given twice")
		}
		seen[key] = true
		if strings.ContainsRune(key, 0) {
			faults.add(at, "the name holds a NUL character")
		}
		if err := walkJSON(dec, at, depth, faults); err != nil {
			return err
		}
	}
	_, err := nextToken(dec)
	return err
}

func nextToken(dec *json.Decoder) (json.Token, error) {
	token, err := dec.Token()
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return nil, fmt.Errorf("the message is not JSON: %w at byte %d", syntax, syntax.Offset)
	}
	return token, err
}

// maxFaults is how many faults are told: a rejection has to fit in an event.
const maxFaults = 50

// add adds a fault, up to maxFaults; the last one says that there are more.
func (f *Faults) add(field, message string) {
	switch {
	case len(*f) < maxFaults:
		*f = append(*f, Fault{Field: field, Message: message})
	case len(*f) == maxFaults:
		*f = append(*f, Fault{Message: "and more faults than are listed here"})
	}
}

// member is the path of an object's member. The name may be anything: it is
// quoted where it is not plain, and cut.
func member(path, name string) string {
	if plain := strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""; !plain || name == "" || len(name) > 64 {
		if r := []rune(name); len(r) > 40 {
			name = string(r[:40]) + "…"
		}
		name = fmt.Sprintf("%q", name)
	}
	if path == "" {
		return name
	}
	return cut(path) + "." + name
}

func element(path string, i int) string { return fmt.Sprintf("%s[%d]", cut(path), i) }

// cut shortens the path to a thing that is nested deep.
func cut(path string) string {
	if r := []rune(path); len(r) > 200 {
		return "…" + string(r[len(r)-150:])
	}
	return path
}
