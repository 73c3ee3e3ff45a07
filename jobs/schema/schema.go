// Package schema holds the contract for those who do not read Go: a JSON Schema
// (draft 2020-12) of every request, event, dead letter, query and answer, and an
// AsyncAPI 3 document that says on which subject each travels. The files are
// made from the Go types in package jobs by this package's tests
// (go test ./jobs/schema -update), which also fail when a file is older than the
// types, and compare the limits in the schemas with what the decoder does.
package schema

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed v1/*.json
var files embed.FS

const folder = "v1"

// ErrUnknown says that there is no document of that name.
var ErrUnknown = errors.New("no such schema")

// Names lists the documents, in order: "asyncapi", "event",
// "request.cluster.create", …
func Names() []string {
	entries, err := fs.ReadDir(files, folder)
	if err != nil {
		return nil // cannot be: the folder is in the binary
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".json")
	}
	return names
}

// Read gives a document as JSON; ErrUnknown names those that there are.
func Read(name string) ([]byte, error) {
	content, err := files.ReadFile(folder + "/" + name + ".json")
	if err != nil {
		return nil, fmt.Errorf("%w as %q; there are %s", ErrUnknown, name, strings.Join(Names(), ", "))
	}
	return content, nil
}
