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
	"os"
	"strings"
)

// Keyring holds the keys that seal secrets (AES-256-GCM). The first one seals;
// the others still open what they sealed, until Reseal has replaced it. It
// never shows its keys when printed.
type Keyring struct {
	first string
	keys  map[string]cipher.AEAD
}

const keyBytes = 32

// OpenKeyring reads a key file. A file that others than its owner may read is
// refused.
func OpenKeyring(path string) (*Keyring, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the key file: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open the key file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("key file %s may be read by others (mode %04o); make it the worker's alone: chmod 600 %s",
			path, mode, path)
	}
	k, err := ParseKeyring(f)
	if err != nil {
		return nil, fmt.Errorf("read key file %s: %w", path, err)
	}
	return k, nil
}

// ParseKeyring reads keys, one a line: an id, a space, 32 bytes in base64. Empty
// lines and lines that begin with # are passed over. The first key seals.
func ParseKeyring(r io.Reader) (*Keyring, error) {
	k := &Keyring{keys: map[string]cipher.AEAD{}}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, text, _ := strings.Cut(line, " ")
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil || len(key) != keyBytes {
			return nil, fmt.Errorf("line %d is not a key: wanted an id, a space and %d bytes in base64", n, keyBytes)
		}
		if _, twice := k.keys[id]; twice {
			return nil, fmt.Errorf("line %d: key id %q is there twice", n, id)
		}
		if k.keys[id], err = newAEAD(key); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if k.first == "" {
			k.first = id
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if k.first == "" {
		return nil, errors.New("there is no key in it; make one with `pgforeman key new`")
	}
	return k, nil
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
	return fmt.Sprintf("keyring of %d, sealing with %s", len(k.keys), k.first)
}

// GoString does not show the keys.
func (k *Keyring) GoString() string { return k.String() }

// identity is the associated data of a secret: a sealed value moved to another
// row does not open.
func identity(clusterID, name string) []byte { return []byte(clusterID + "\x00" + name) }

// seal encrypts a secret: nonce, then ciphertext.
func (k *Keyring) seal(clusterID, name string, plain []byte) (keyID string, sealed []byte, err error) {
	aead := k.keys[k.first]
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return "", nil, fmt.Errorf("seal secret %s of cluster %s: %w", name, clusterID, err)
	}
	return k.first, aead.Seal(nonce, nonce, plain, identity(clusterID, name)), nil
}

// open decrypts a secret.
func (k *Keyring) open(clusterID, name, keyID string, sealed []byte) ([]byte, error) {
	aead, ok := k.keys[keyID]
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
