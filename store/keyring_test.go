package store_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/store"
)

// keyFile makes a key file with one key.
func keyFile(t *testing.T) string {
	t.Helper()
	line, err := store.NewKey()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte("# ours\n\n"+line), 0o400))
	return path
}

// keyring reads a key file.
func keyring(t *testing.T, path string) *store.Keyring {
	t.Helper()
	k, err := store.OpenKeyring(path)
	require.NoError(t, err)
	return k
}

func TestRotateKeyFile(t *testing.T) {
	path := keyFile(t)
	link := path + ".link"
	require.NoError(t, os.Symlink(path, link))
	old := keyring(t, path).First()
	require.NoError(t, os.WriteFile(path+".new", []byte("left by one that died"), 0o400))

	id, err := store.RotateKeyFile(link, "", store.KeyFirst)
	require.NoError(t, err)
	k := keyring(t, link)
	require.Equal(t, id, k.First())
	require.ElementsMatch(t, []string{id, old}, k.IDs())
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o400), info.Mode())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(text, []byte("# ours\n")), "comments stay")
	info, err = os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeSymlink, "the link stays a link")

	standby, err := store.RotateKeyFile(path, "", store.KeyStandby)
	require.NoError(t, err)
	require.Equal(t, id, keyring(t, path).First())
	used, err := store.RotateKeyFile(path, standby, store.KeyFirst)
	require.NoError(t, err)
	require.Equal(t, standby, used)
	require.Equal(t, standby, keyring(t, path).First())
	require.Len(t, keyring(t, path).IDs(), 3)
	_, err = store.RotateKeyFile(path, "nope", store.KeyFirst)
	require.ErrorContains(t, err, "no such key")
	left, err := filepath.Glob(path + ".new")
	require.NoError(t, err)
	require.Empty(t, left)

	none(t, atOnce(10, func(int) error {
		_, err := store.RotateKeyFile(path, "", store.KeyFirst)
		return err
	}))
	require.Len(t, keyring(t, path).IDs(), 13, "no rotation loses another's key")

	require.NoError(t, os.Chmod(path, 0o640))
	_, err = store.RotateKeyFile(path, "", store.KeyFirst)
	require.ErrorContains(t, err, "may be read by others")
	_, err = store.RotateKeyFile(path+"x", "", store.KeyFirst)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestRotateKilledAtAnyPoint kills processes that rotate: the file is whole,
// and no key that was in it is ever gone.
func TestRotateKilledAtAnyPoint(t *testing.T) {
	if path := os.Getenv("PGFOREMAN_TEST_ROTATE"); path != "" {
		for {
			if _, err := store.RotateKeyFile(path, "", store.KeyFirst); err != nil {
				t.Fatal(err)
			}
		}
	}
	if testing.Short() {
		t.Skip("kills many processes")
	}
	path := keyFile(t)
	before := keyring(t, path)
	for i := range 25 {
		c := exec.Command(os.Args[0], "-test.run=^TestRotateKilledAtAnyPoint$")
		c.Env = append(os.Environ(), "PGFOREMAN_TEST_ROTATE="+path)
		require.NoError(t, c.Start())
		deadline := time.After(time.Minute)
		for len(keyring(t, path).IDs()) == len(before.IDs()) { // until it is at work
			select {
			case <-deadline:
				require.Fail(t, "it does not rotate")
			case <-time.After(time.Duration(i%7) * 300 * time.Microsecond):
			}
		}
		require.NoError(t, c.Process.Kill())
		_ = c.Wait() // it was killed
		now := keyring(t, path)
		for _, id := range before.IDs() {
			require.Contains(t, now.IDs(), id)
		}
		before = now
	}
}

func TestAWorkerFollowsItsKeyFile(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	id := made(t, db, "orders")
	path := keyFile(t)
	first, second := keyring(t, path), keyring(t, path) // two workers
	one, two := db.Open(t, store.Options{Keyring: first}), db.Open(t, store.Options{Keyring: second})
	put := func(s *store.Store, name string) {
		t.Helper()
		_, err := s.PutSecretsOnce(ctx, id, map[string][]byte{name: []byte("value of " + name)})
		require.NoError(t, err)
	}
	put(one, "before")
	old := first.First()
	fresh, err := store.RotateKeyFile(path, "", store.KeyFirst)
	require.NoError(t, err)

	follow, stop := context.WithCancel(ctx)
	defer stop()
	now, told := make(chan os.Signal, 1), make(chan error, 8)
	go first.Follow(follow, now, func(err error) { told <- err })
	require.NoError(t, heard(t, told))
	require.Equal(t, fresh, first.First())
	put(one, "after")

	require.Equal(t, old, second.First(), "nobody told the second one")
	got, err := two.Secrets(ctx, id)
	require.NoError(t, err, "it reads the file when it meets a key that it does not know")
	require.Len(t, got, 2)
	require.Equal(t, "value of after", string(got["after"]))

	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.WriteFile(path, []byte("broken"), 0o600))
	now <- syscall.SIGHUP
	require.ErrorContains(t, heard(t, told), "line 1 is not a key")
	require.Equal(t, fresh, first.First(), "the keys stay as they were")
	_, err = one.Secrets(ctx, id)
	require.NoError(t, err)
}

func heard(t *testing.T, told <-chan error) error {
	t.Helper()
	select {
	case err := <-told:
		return err
	case <-time.After(time.Minute):
		require.Fail(t, "nothing was told")
		return nil
	}
}

// TestResealInterruptedAtAnyPoint stops a reseal after each of its moments: every
// secret opens, and the next one ends the work.
func TestResealInterruptedAtAnyPoint(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	path := keyFile(t)
	s := db.Open(t, store.Options{Keyring: keyring(t, path)})
	secrets := map[string][]byte{}
	for i := range 250 {
		secrets[name("secret", i)] = []byte(name("value", i))
	}
	id := made(t, db, "orders")
	_, err := s.PutSecretsOnce(ctx, id, secrets)
	require.NoError(t, err)
	fresh, err := store.RotateKeyFile(path, "", store.KeyFirst)
	require.NoError(t, err)
	s = db.Open(t, store.Options{Keyring: keyring(t, path)})

	whole := func() {
		t.Helper()
		got, err := s.Secrets(ctx, id)
		require.NoError(t, err)
		require.Equal(t, secrets, got)
	}
	for limit := time.Millisecond; ; limit += limit / 2 {
		short, cancel := context.WithTimeout(ctx, limit)
		_, err := s.Reseal(short)
		cancel()
		whole()
		if err == nil {
			break
		}
		require.True(t, errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "reach"), "%v", err)
		require.Less(t, limit, time.Minute)
	}
	counts, err := s.SealedWith(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string]int{fresh: 250}, counts)
	ids := keyring(t, path).IDs()
	require.True(t, slices.Contains(ids, fresh))
	require.Len(t, ids, 2)
}
