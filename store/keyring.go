package store

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
)

// Keyring holds the keys that seal secrets (AES-256-GCM). The first one seals;
// the others still open what they sealed, until Reseal has replaced it. It
// never shows its keys when printed. One that was opened from a file follows the
// file (keyring_file.go). It is safe for concurrent use.
type Keyring struct {
	set  atomic.Pointer[keySet]
	file *keyFile // nil: it is as it was parsed
}

// keySet are the keys of one moment.
type keySet struct {
	first string
	keys  map[string]cipher.AEAD
}

const keyBytes = 32

// ParseKeyring reads keys, one a line: an id, a space, 32 bytes in base64. Empty
// lines and lines that begin with # are passed over. The first key seals.
func ParseKeyring(r io.Reader) (*Keyring, error) {
	set, err := parseKeys(r)
	if err != nil {
		return nil, err
	}
	k := &Keyring{}
	k.set.Store(set)
	return k, nil
}

func parseKeys(r io.Reader) (*keySet, error) {
	set := &keySet{keys: map[string]cipher.AEAD{}}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		id, text, is := keyLine(lines.Text())
		if !is {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) != keyBytes {
			return nil, fmt.Errorf("line %d is not a key: wanted an id, a space and %d bytes in base64", n, keyBytes)
		}
		if _, twice := set.keys[id]; twice {
			return nil, fmt.Errorf("line %d: key id %q is there twice", n, id)
		}
		if set.keys[id], err = newAEAD(key); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if set.first == "" {
			set.first = id
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if set.first == "" {
		return nil, errors.New("there is no key in it; make one with `pgforeman key new`")
	}
	return set, nil
}

// keyLine takes a line of a key file apart; false when it is none of a key.
func keyLine(line string) (id, key string, is bool) {
	line = strings.TrimSpace(line)
	if line == "" || strings.HasPrefix(line, "#") {
		return "", "", false
	}
	id, key, _ = strings.Cut(line, " ")
	return id, strings.TrimSpace(key), true
}

// NewKey makes a line for a key file.
func NewKey() (string, error) {
	raw := make([]byte, keyBytes+4)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	return fmt.Sprintf("k%x %s\n", raw[keyBytes:], base64.StdEncoding.EncodeToString(raw[:keyBytes])), nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// String does not show the keys.
func (k *Keyring) String() string {
	set := k.set.Load()
	return fmt.Sprintf("keyring of %d, sealing with %s", len(set.keys), set.first)
}

// GoString does not show the keys.
func (k *Keyring) GoString() string { return k.String() }

// First is the id of the key that seals.
func (k *Keyring) First() string { return k.set.Load().first }

// IDs are the ids of all keys, sorted.
func (k *Keyring) IDs() []string { return slices.Sorted(maps.Keys(k.set.Load().keys)) }

// has tells whether a key is among them.
func (k *Keyring) has(id string) bool {
	_, ok := k.set.Load().keys[id]
	return ok
}

// identity is the associated data of a secret: a sealed value moved to another
// row does not open.
func identity(clusterID, name string) []byte { return []byte(clusterID + "\x00" + name) }

// seal encrypts a secret: nonce, then ciphertext.
func (k *Keyring) seal(clusterID, name string, plain []byte) (keyID string, sealed []byte, err error) {
	set := k.set.Load()
	aead := set.keys[set.first]
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return "", nil, fmt.Errorf("seal secret %s of cluster %s: %w", name, clusterID, err)
	}
	return set.first, aead.Seal(nonce, nonce, plain, identity(clusterID, name)), nil
}

// open decrypts a secret. A key that it does not have may have come into the
// file a moment ago.
func (k *Keyring) open(clusterID, name, keyID string, sealed []byte) ([]byte, error) {
	aead, ok := k.set.Load().keys[keyID]
	if !ok {
		_, _ = k.Reload() // the key is missing all the same when this fails
		aead, ok = k.set.Load().keys[keyID]
	}
	if !ok {
		return nil, fmt.Errorf("secret %s of cluster %s is sealed with key %s, which the key file does not have; add that key to it",
			name, clusterID, keyID)
	}
	if len(sealed) < aead.NonceSize() {
		return nil, fmt.Errorf("secret %s of cluster %s is damaged: too short", name, clusterID)
	}
	nonce, text := sealed[:aead.NonceSize()], sealed[aead.NonceSize():]
	plain, err := aead.Open(nil, nonce, text, identity(clusterID, name))
	if err != nil {
		return nil, fmt.Errorf("secret %s of cluster %s does not open with key %s: "+
			"either the key file has another key of that id, or the row was changed", name, clusterID, keyID)
	}
	return plain, nil
}
