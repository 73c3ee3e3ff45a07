package patroni

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// setting is a line of settings17.txt: what PostgreSQL 17 says of one of its own
// settings in pg_settings.
type setting struct {
	name    string
	context string // internal, postmaster, sighup, user, …
	kind    string // bool, integer, real, string, enum
	unit    string // of the bounds: B, kB, 8kB, MB, ms, s, min, or none
	min     float64
	max     float64
	choices []string
}

//go:embed settings17.txt
var settingsText string

// settings is the table by name. The text is fixed and a test reads all of it,
// so a line that cannot be read is left out and not reported here.
var settings = sync.OnceValue(func() map[string]setting {
	table := make(map[string]setting)
	for line := range strings.Lines(settingsText) {
		if s, err := parseSetting(strings.TrimSuffix(line, "\n")); err == nil {
			table[s.name] = s
		}
	}
	return table
})

func parseSetting(line string) (setting, error) {
	fields := strings.Split(line, "|")
	if strings.HasPrefix(line, "#") || len(fields) != 7 {
		return setting{}, fmt.Errorf("not a setting: %q", line)
	}
	s := setting{name: fields[0], context: fields[1], kind: fields[2], unit: fields[3]}
	if fields[6] != "" {
		s.choices = strings.Split(fields[6], ",")
	}
	if s.kind != "integer" && s.kind != "real" {
		return s, nil
	}
	var err error
	if s.min, err = strconv.ParseFloat(fields[4], 64); err != nil {
		return setting{}, fmt.Errorf("minimum of %s: %w", s.name, err)
	}
	if s.max, err = strconv.ParseFloat(fields[5], 64); err != nil {
		return setting{}, fmt.Errorf("maximum of %s: %w", s.name, err)
	}
	return s, nil
}

// Bases are powers of 1024 for memory; for time, microseconds. The names are
// those of PostgreSQL (guc.c: memory_unit_conversion_table, time_unit_conversion_table).
var (
	memoryUnits = map[string]float64{"B": 1, "kB": 1 << 10, "8kB": 8 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
	timeUnits   = map[string]float64{"us": 1, "ms": 1e3, "s": 1e6, "min": 60e6, "h": 3600e6, "d": 86400e6}
)

// factor says how many of the setting's own units one of unit is.
func (s setting) factor(unit string) (float64, error) {
	if unit == "" {
		return 1, nil
	}
	for _, table := range []map[string]float64{memoryUnits, timeUnits} {
		own, isOurs := table[s.unit]
		if !isOurs {
			continue
		}
		if given, known := table[unit]; known && unit != "8kB" {
			return given / own, nil
		}
		names := make([]string, 0, len(table))
		for name := range table {
			if name != "8kB" {
				names = append(names, name)
			}
		}
		slices.SortFunc(names, func(a, b string) int { return cmp.Compare(table[a], table[b]) })
		return 0, fmt.Errorf("%q is no unit of it; the units are %s", unit, strings.Join(names, ", "))
	}
	return 0, fmt.Errorf("it has no unit, so leave out %q", unit)
}
