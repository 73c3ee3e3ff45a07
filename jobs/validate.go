package jobs

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// nameRule says what names of tenants and clusters are, for people.
const nameRule = "a DNS label of at most 40 characters: lower-case letters, digits and dashes, no dash at either end"

var (
	nameForm       = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)
	kindForm       = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*$`)
	identifierForm = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
	labelKeyForm   = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9._/-]{0,61}[a-zA-Z0-9])?$`)
	settingForm    = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.]{0,62}$`)
)

// IsName tells whether s can be the name of a tenant or a cluster: a DNS label
// of at most 40 characters.
func IsName(s string) bool { return nameForm.MatchString(s) }

// isKind tells whether s can be the name of a kind, known or not.
func isKind(s string) bool { return len(s) <= 64 && kindForm.MatchString(s) }

// printable tells whether s is 1 to max printable characters.
func printable(s string, max int) bool {
	if s == "" || utf8.RuneCountInString(s) > max {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// identifierFault says what is wrong with the name of a user or database; ""
// when nothing is.
func identifierFault(name string) string {
	switch {
	case name == "":
		return "is missing"
	case !identifierForm.MatchString(name):
		return "must be lower-case letters, digits and underscores, not a digit first, at most 63 characters"
	case reserved(name):
		return "is reserved"
	}
	return ""
}

// reserved tells whether PostgreSQL, Patroni or pgforeman has the name for itself.
func reserved(name string) bool {
	switch name {
	case "postgres", "replicator", "rewind_user", "template0", "template1", "public", "none", "patroni":
		return true
	}
	return strings.HasPrefix(name, "pg_") || strings.HasPrefix(name, "pgforeman")
}
