package store

import (
	"strings"

	"github.com/google/uuid"
)

// isID tells whether text can be the id of a row: what cannot is not found,
// without asking the database.
func isID(text string) bool { return uuid.Validate(text) == nil && len(text) == 36 }

// clean makes text from outside fit for a column: PostgreSQL takes neither
// invalid UTF-8 nor the character NUL.
func clean(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// bounded is the limit of a list: 100 unless asked for, at most 1000.
func bounded(limit int) int32 {
	switch {
	case limit <= 0:
		return 100
	case limit > 1000:
		return 1000
	default:
		return int32(limit)
	}
}
