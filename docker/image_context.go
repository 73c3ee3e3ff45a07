package docker

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"
)

//go:embed base etcd patroni haproxy
var imageFiles embed.FS

// contextFile is a file of a build context.
type contextFile struct {
	name string
	mode int64
	data []byte
}

// entryScript is what the entrypoints share. It is written once, beside the base's
// Dockerfile, and goes into the contexts of the images that have an entrypoint: in the
// base itself a change of it would install every package anew.
const entryScript = "base/entry.sh"

// context returns the files of the image's build context in a fixed order. Documents
// are left out: a better README makes no new image.
func (n ImageName) context() []contextFile {
	var files []contextFile
	if n != BaseImage {
		data, _ := imageFiles.ReadFile(entryScript)
		files = append(files, contextFile{name: path.Base(entryScript), mode: 0o644, data: data})
	}
	// The files are part of the binary: neither walking nor reading them can fail.
	_ = fs.WalkDir(imageFiles, string(n), func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(file) == ".md" || file == entryScript {
			return err
		}
		data, err := imageFiles.ReadFile(file)
		if err != nil {
			return err
		}
		// Embedding drops modes; what has an interpreter line is a program.
		mode := int64(0o644)
		if bytes.HasPrefix(data, []byte("#!")) {
			mode = 0o755
		}
		files = append(files, contextFile{name: file[len(n)+1:], mode: mode, data: data})
		return nil
	})
	return files
}

// hash covers everything that decides what is in the image, its base included.
func (n ImageName) hash() string {
	sum := sha256.New()
	if n != BaseImage {
		fmt.Fprintf(sum, "base %s\n", BaseImage.hash())
	}
	fmt.Fprintf(sum, "debian %s\n", debianSuite)
	versions := n.versions()
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		fmt.Fprintf(sum, "arg %q %q\n", name, versions[name])
	}
	for _, file := range n.context() {
		fmt.Fprintf(sum, "file %q %o %d\n", file.name, file.mode, len(file.data))
		sum.Write(file.data)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// archive packs the build context. Its bytes depend on the files alone, so the
// Engine's build cache recognises them.
func (n ImageName) archive() (*bytes.Buffer, error) {
	buffer := new(bytes.Buffer)
	archive := tar.NewWriter(buffer)
	for _, file := range n.context() {
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: file.name, Mode: file.mode,
			Size: int64(len(file.data)), ModTime: time.Unix(0, 0),
		}
		if err := archive.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack build context of %q: %w", n, err)
		}
		if _, err := archive.Write(file.data); err != nil {
			return nil, fmt.Errorf("pack build context of %q: %w", n, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("pack build context of %q: %w", n, err)
	}
	return buffer, nil
}
