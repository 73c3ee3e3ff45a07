package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/store"
)

func newKeyCommand(g *globals) *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "Make and rotate the keys that seal the clusters' secrets"}
	c.AddCommand(keyNewCommand(), keyRotateCommand(), keyResealCommand(g))
	return c
}

func keyNewCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "new",
		Short: "Print a new line for the key file",
		Long: `Prints a new key, a line for the key file. The first line of the file seals what
is written from now on, the others still open what they sealed. Every worker
needs the same file, with mode 0400; whoever has it and a dump of the state
database has every cluster's passwords.`,
		Example: "  pgforeman key new > key && chmod 400 key",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			line, err := store.NewKey()
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.OutOrStdout(), line)
			return err
		},
	}
}

// keyFlags say which key file is meant, and with it which state database.
type keyFlags struct {
	file     string
	stateDir string
}

func (k *keyFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&k.file, "key-file", "", "the workers' key file (default $PGFOREMAN_KEY_FILE)")
	c.Flags().StringVar(&k.stateDir, "state-dir", "", "the folder of a pgforeman dev, whose key file is meant")
}

// path is the key file.
func (k *keyFlags) path() (string, error) {
	switch {
	case k.file != "" && k.stateDir != "":
		return "", withCode(exitUsage, errors.New("--key-file and --state-dir exclude each other"))
	case k.stateDir != "":
		return filepath.Join(k.stateDir, "key"), nil
	case k.file != "":
		return k.file, nil
	case os.Getenv("PGFOREMAN_KEY_FILE") != "":
		return os.Getenv("PGFOREMAN_KEY_FILE"), nil
	}
	return "", withCode(exitUsage, errors.New("say which key file: --key-file, PGFOREMAN_KEY_FILE, or --state-dir for a pgforeman dev"))
}

// words are the flags as they were given, for the next command to type.
func (k *keyFlags) words() string {
	switch {
	case k.stateDir != "":
		return " --state-dir " + k.stateDir
	case k.file != "":
		return " --key-file " + k.file
	}
	return ""
}

// database is the state database whose secrets the keys seal.
func (k *keyFlags) database() (string, error) {
	if k.stateDir == "" {
		return readDatabaseSettings()
	}
	var parts []string
	for _, name := range []string{"database-password", "database-port"} {
		raw, err := os.ReadFile(filepath.Join(k.stateDir, name))
		if err != nil {
			return "", fmt.Errorf("read the state folder: %w", err)
		}
		parts = append(parts, strings.TrimSpace(string(raw)))
	}
	return devDSN(parts[0], parts[1]), nil
}

// devDSN leads to the state database of a pgforeman dev.
func devDSN(password, port string) string {
	return (&url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", password),
		Host: "127.0.0.1:" + port, Path: "postgres", RawQuery: "sslmode=disable",
	}).String()
}
