package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

// keyFile is where a keyring comes from, and how the file looked when it was
// read.
type keyFile struct {
	path string
	mu   sync.Mutex
	seen fs.FileInfo
}

// OpenKeyring reads a key file. A file that others than its owner may read is
// refused.
func OpenKeyring(path string) (*Keyring, error) {
	k := &Keyring{file: &keyFile{path: path}}
	if _, err := k.Reload(); err != nil {
		return nil, err
	}
	return k, nil
}

// Reload reads the key file again if it has changed, and tells whether its keys
// took the place of those before. After an error they are as they were.
func (k *Keyring) Reload() (changed bool, err error) {
	if k.file == nil {
		return false, nil
	}
	k.file.mu.Lock()
	defer k.file.mu.Unlock()
	f, err := os.Open(k.file.path)
	if err != nil {
		return false, fmt.Errorf("open the key file: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("open the key file: %w", err)
	}
	if k.set.Load() != nil && same(k.file.seen, info) {
		return false, nil
	}
	if err := private(k.file.path, info); err != nil {
		return false, err
	}
	set, err := parseKeys(f)
	if err != nil {
		return false, fmt.Errorf("read key file %s: %w", k.file.path, err)
	}
	k.file.seen = info
	k.set.Store(set)
	return true, nil
}

// same tells whether a file is as it was.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// private refuses a key file that others may read.
func private(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("key file %s may be read by others (mode %04o); make it the worker's alone: chmod 600 %s", path, mode, path)
	}
	return nil
}

// KeyFilePoll is how often Follow looks at the key file.
const KeyFilePoll = 2 * time.Second

// Follow reloads the key file when it has changed, until ctx ends: it looks at
// it every KeyFilePoll, and at once when now says so. told hears of every
// reload, and of every fault once; the keys stay as they were meanwhile.
func (k *Keyring) Follow(ctx context.Context, now <-chan os.Signal, told func(error)) {
	if k == nil || k.file == nil {
		return
	}
	tick := time.NewTicker(KeyFilePoll)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-now:
			last = "" // whoever asks hears of the fault again
		case <-tick.C:
		}
		switch changed, err := k.Reload(); {
		case err != nil && err.Error() != last:
			last = err.Error()
			told(err)
		case err == nil && changed:
			last = ""
			told(nil)
		}
	}
}

// KeyPlace is where RotateKeyFile puts a key.
type KeyPlace int

// The places. A key that stands by opens what others seal with it and seals
// nothing: where key files have to be carried to several hosts, every host is
// given the key first, and then told to use it.
const (
	KeyFirst   KeyPlace = iota // seals from now on
	KeyStandby                 // stands by, as the last
)

// RotateKeyFile puts a key into a key file: a new one where id is "", else the
// one of that id, which the file has already. It gives the key's id. The file is
// replaced whole, with mode and owner as before, so that who reads it, or dies
// at any point, has the file before or the one after; it is on the disk before
// anybody can seal with it. Two rotations at once wait for each other.
func RotateKeyFile(path, id string, place KeyPlace) (string, error) {
	for {
		done, key, err := rotateKeyFile(path, id, place)
		if err != nil {
			return "", fmt.Errorf("rotate key file %s: %w", path, err)
		}
		if done {
			return key, nil
		}
	}
}

// rotateKeyFile is one try; false when somebody else replaced the file while
// this one waited for it.
func rotateKeyFile(path, id string, place KeyPlace) (done bool, key string, err error) {
	path, err = realPath(path)
	if err != nil {
		return false, "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return false, "", err
	}
	defer func() { _ = f.Close() }() // gives the lock back
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return false, "", fmt.Errorf("lock it: %w", err)
	}
	held, err := f.Stat()
	if err != nil {
		return false, "", err
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(held, now) {
		return false, "", err
	}
	if err := private(path, held); err != nil {
		return false, "", err
	}
	before := bytes.Buffer{}
	if _, err := before.ReadFrom(f); err != nil {
		return false, "", err
	}
	after, key, err := placeKey(before.String(), id, place)
	if err != nil {
		return false, "", err
	}
	if _, err := parseKeys(bytes.NewReader(after)); err != nil {
		return false, "", err
	}
	return true, key, replaceFile(path, held, after)
}

var errNoSuchKey = errors.New("it has no such key; the first word of a line is a key's id")
