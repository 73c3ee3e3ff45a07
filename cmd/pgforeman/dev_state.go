package main

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/vcs-iaas/pgforeman/store"
)

// devState is the folder of one "pgforeman dev": what it needs to be the same
// one when it starts again.
type devState struct {
	Dir      string
	Instance string // in the file "instance"
	KeyFile  string
	Password string // of the state database, in the file "database-password"
	Port     int    // the state database's on loopback, in the file "database-port"
	lock     *os.File
}

// devRunning says where a running dev is; the file "running.json".
type devRunning struct {
	PID      int    `json:"pid"`
	NATSAddr string `json:"nats_addr"`
	HTTPAddr string `json:"http_addr"`
}

// openDevState makes or opens the folder and locks it: one dev a folder.
func openDevState(dir string) (*devState, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the state folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	s := &devState{Dir: dir, KeyFile: filepath.Join(dir, "key")}
	if s.lock, err = lockFile(filepath.Join(dir, "lock")); err != nil {
		return nil, err
	}
	if err := s.fill(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *devState) fill() (err error) {
	if s.Instance, err = s.once("instance", func() (string, error) {
		return "dev-" + strings.ToLower(rand.Text()[:8]), nil
	}); err != nil {
		return err
	}
	if s.Password, err = s.once("database-password", func() (string, error) {
		raw := make([]byte, 20)
		_, _ = rand.Read(raw) // never fails
		return strings.ToLower(base32.StdEncoding.EncodeToString(raw)), nil
	}); err != nil {
		return err
	}
	port, err := s.once("database-port", func() (string, error) { return freePort() })
	if err != nil {
		return err
	}
	if s.Port, err = strconv.Atoi(port); err != nil {
		return fmt.Errorf("%s holds no port: %w", filepath.Join(s.Dir, "database-port"), err)
	}
	_, err = s.once("key", store.NewKey)
	return err
}

// once gives what a file of the folder holds; the first time it is made. The
// file appears whole or not at all.
func (s *devState) once(name string, make func() (string, error)) (string, error) {
	path := filepath.Join(s.Dir, name)
	raw, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(raw)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read the state folder: %w", err)
	}
	text, err := make()
	if err != nil {
		return "", err
	}
	return text, writeWhole(path, []byte(text+"\n"))
}

// forgetPort makes the next start choose another port for the state database.
func (s *devState) forgetPort() error {
	if err := os.Remove(filepath.Join(s.Dir, "database-port")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget the state database's port: %w", err)
	}
	return s.fill()
}

// announce leaves word of where this process is.
func (s *devState) announce(natsAddr, httpAddr string) error {
	raw, err := json.Marshal(devRunning{os.Getpid(), natsAddr, httpAddr})
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	return writeWhole(filepath.Join(s.Dir, "running.json"), raw)
}

// Close gives the folder back.
func (s *devState) Close() { _ = s.lock.Close() }

// writeWhole writes a file of mode 0600 that is there whole or not at all.
func writeWhole(path string, data []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("write the state folder: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write the state folder: %w", err)
	}
	return nil
}

// errRunning says that a dev holds the folder's lock.
var errRunning = errors.New("a pgforeman dev is running on this state folder; stop it with: pgforeman dev stop")

// lockFile locks a file for this process; the kernel gives the lock back when
// the process ends, however it ends.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errRunning
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// freePort finds a loopback port below the ranges from which clusters, the
// Engine and the kernel choose.
func freePort() (string, error) {
	for range 100 {
		var b [2]byte
		_, _ = rand.Read(b[:]) // never fails
		port := 15000 + (int(b[0])<<8|int(b[1]))%5000
		if listenable(net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) == nil {
			return strconv.Itoa(port), nil
		}
	}
	return "", errors.New("no free port between 15000 and 19999 on 127.0.0.1 for the state database")
}

// listenable tells why an address cannot be listened on.
func listenable(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

// splitAddr reads host:port.
func splitAddr(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil {
		return "", 0, withCode(exitUsage, fmt.Errorf("address %q: want host:port", addr))
	}
	return host, port, nil
}

// loopbackOnly refuses addresses that others could reach.
func loopbackOnly(addrs ...string) error {
	for _, addr := range addrs {
		host, _, err := splitAddr(addr)
		if err != nil {
			return err
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return withCode(exitUsage, fmt.Errorf("address %s: %w", addr, errNotLoopback))
		}
	}
	return nil
}
