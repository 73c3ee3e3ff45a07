package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// placeKey is the text of a key file with a key put first or last. Comments
// stay where they are: those at the top, before everything.
func placeKey(text, id string, place KeyPlace) (after []byte, key string, err error) {
	line, rest := "", text
	if id == "" {
		if line, err = NewKey(); err != nil {
			return nil, "", err
		}
	} else if line, rest = takeKey(text, id); line == "" {
		return nil, "", fmt.Errorf("key %q: %w", id, errNoSuchKey)
	}
	if rest != "" && !strings.HasSuffix(rest, "\n") {
		rest += "\n"
	}
	key, _, _ = keyLine(line)
	if place == KeyStandby {
		return []byte(rest + line), key, nil
	}
	top := 0
	for _, l := range strings.SplitAfter(rest, "\n") {
		if _, _, is := keyLine(l); is {
			break
		}
		top += len(l)
	}
	return []byte(rest[:top] + line + rest[top:]), key, nil
}

// takeKey takes a key's line out of a key file.
func takeKey(text, id string) (line, rest string) {
	for _, l := range strings.SplitAfter(text, "\n") {
		if have, _, is := keyLine(l); is && have == id {
			line = strings.TrimSpace(l) + "\n"
			continue
		}
		rest += l
	}
	return line, rest
}

// realPath follows links, so that a link goes on leading to the file.
func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// replaceFile puts a new file in the place of one, with its mode and owner. Only
// who holds the lock of the file comes here, so what lies at the name of the new
// file was left by one that died.
func replaceFile(path string, like fs.FileInfo, data []byte) error {
	part := path + ".new"
	if err := os.Remove(part); err != nil && !os.IsNotExist(err) {
		return err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(fill(f, like, data), f.Close())
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		_ = os.Remove(part) // the error that matters is told
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // only synchronised
	return dir.Sync()
}

func fill(f *os.File, like fs.FileInfo, data []byte) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Chmod(like.Mode().Perm()); err != nil {
		return err
	}
	if owner, ok := like.Sys().(*syscall.Stat_t); ok && (int(owner.Uid) != os.Geteuid() || int(owner.Gid) != os.Getegid()) {
		if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("keep its owner (run this as root, or as the owner): %w", err)
		}
	}
	return f.Sync()
}
