package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/docker/go-units"
)

// table draws rows under a header, columns two spaces apart.
type table struct {
	header []string
	rows   [][]string
}

func newTable(header ...string) *table { return &table{header: header} }

// row adds a row; its cells are cleaned of what could harm a terminal.
func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = clean(c)
	}
	t.rows = append(t.rows, cells)
}

// write draws the table; of an empty one it says none.
func (t *table) write(out io.Writer, none string) error {
	if len(t.rows) == 0 {
		_, err := fmt.Fprintln(out, none)
		return err
	}
	_, err := io.WriteString(out, drawn(append([][]string{t.header}, t.rows...), "", "-"))
	return err
}

// aligned are rows without a header, indented by two.
func aligned(rows [][]string) string {
	return strings.TrimRight(drawn(rows, "  ", ""), "\n")
}

// drawn aligns rows in columns; nothing is written as empty.
func drawn(rows [][]string, indent, empty string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		for i, cell := range r {
			if cell == "" {
				cell = empty
			}
			if i < len(r)-1 {
				cell += "\t"
			}
			if i == 0 {
				cell = indent + cell
			}
			_, _ = io.WriteString(w, cell) // a strings.Builder takes everything
		}
		_, _ = io.WriteString(w, "\n")
	}
	_ = w.Flush()
	return trimLines(b.String())
}

// trimLines takes the space off the end of every line.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

// clean makes text from outside safe for a terminal: one line, nothing that
// moves the cursor.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '\uFFFD'
		}
		return r
	}, s)
}

// stamp is a time to the second, in UTC.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// took is the time between two moments; "" when one is missing.
func took(from, to *time.Time) string {
	if from == nil || to == nil {
		return ""
	}
	return span(to.Sub(*from))
}

// span is a duration as people say it.
func span(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", max(0, d.Seconds()))
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// bytesOf is a size for people.
func bytesOf(n int64) string { return units.BytesSize(float64(n)) }

// count is a number of things: "1 fault", "2 faults".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
