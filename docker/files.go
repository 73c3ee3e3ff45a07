package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
)

// File is a file for a container's volume: a secret, a certificate, a configuration. The root is read-only, so the
// path must be inside a mounted volume.
type File struct {
	Path string // absolute, in the container
	Mode int64  // permission bits, like 0o400
	UID  int
	GID  int
	Data []byte `json:"-"` // not part of the specification's hash
}

// PutFiles writes files into the volumes of a container, running or not, as a rotation does. Directories that are
// missing are made with mode 0700 and the owner of the file. An existing file is removed and written anew: a reader
// may see it missing for a moment, and one that has it open keeps the old contents.
func (e *Engine) PutFiles(ctx context.Context, name string, files []File) error {
	ctx, cancel, err := e.begin(ctx, callTimeout)
	defer cancel()
	if err != nil {
		return fmt.Errorf("copy files into container %q: %w", name, err)
	}
	if err := e.putFiles(ctx, name, files); err != nil {
		return fmt.Errorf("copy files into container %q: %w", name, err)
	}
	return nil
}

func (e *Engine) putFiles(ctx context.Context, name string, files []File) error {
	c, err := e.cli.ContainerInspect(ctx, name)
	if err != nil {
		return explain(ctx, err)
	}
	if err := e.checkInstance(c.Config.Labels); err != nil {
		return err
	}
	var mounts []VolumeMount
	for _, m := range c.Mounts {
		if m.Type == "volume" {
			mounts = append(mounts, VolumeMount{Volume: m.Name, Target: m.Destination})
		}
	}
	return e.copyFiles(ctx, c.ID, mounts, files)
}

// copyFiles sends one archive for every volume.
func (e *Engine) copyFiles(ctx context.Context, id string, mounts []VolumeMount, files []File) error {
	byTarget := map[string][]File{}
	var targets []string
	for _, f := range files {
		m, ok := volumeOf(mounts, f.Path)
		if !ok {
			return fmt.Errorf("%w: file %q is not inside a mounted volume", ErrInvalid, f.Path)
		}
		if byTarget[m.Target] == nil {
			targets = append(targets, m.Target)
		}
		byTarget[m.Target] = append(byTarget[m.Target], f)
	}
	for _, target := range targets {
		archive, err := archiveFor(target, byTarget[target])
		if err != nil {
			return err
		}
		err = e.cli.CopyToContainer(ctx, id, target, archive, container.CopyToContainerOptions{})
		if err != nil {
			return fmt.Errorf("into %s: %w", target, explain(ctx, err))
		}
	}
	return nil
}

// volumeOf finds the mount that a path is in, the deepest one when they are nested.
func volumeOf(mounts []VolumeMount, file string) (best VolumeMount, ok bool) {
	if !path.IsAbs(file) || path.Clean(file) != file {
		return best, false
	}
	for _, m := range mounts {
		if strings.HasPrefix(file, m.Target+"/") && len(m.Target) > len(best.Target) {
			best, ok = m, true
		}
	}
	return best, ok
}

// archiveFor packs files, with the directories between the target and them.
func archiveFor(target string, files []File) (io.Reader, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	seen := map[string]bool{}
	for _, f := range files {
		name := strings.TrimPrefix(f.Path, target+"/")
		for _, dir := range parents(name) {
			if seen[dir] {
				continue
			}
			seen[dir] = true
			h := &tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o700, Uid: f.UID, Gid: f.GID}
			if err := w.WriteHeader(h); err != nil {
				return nil, fmt.Errorf("pack directory %q: %w", dir, err)
			}
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(f.Data)), Mode: f.Mode, Uid: f.UID, Gid: f.GID}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("pack file %q: %w", f.Path, err)
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, fmt.Errorf("pack file %q: %w", f.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack files: %w", err)
	}
	return &buf, nil
}

// parents of a/b/c are a and a/b.
func parents(name string) []string {
	var out []string
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		out = append(out, dir)
	}
	slices.Reverse(out)
	return out
}
