package patroni

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Problem is one fault of one PostgreSQL setting, told to whoever asked for it.
type Problem struct {
	Name    string
	Message string
}

func (p Problem) String() string { return fmt.Sprintf("%q: %s", p.Name, p.Message) }

// ParameterError is all faults at once.
type ParameterError struct{ Problems []Problem }

func (e *ParameterError) Error() string {
	texts := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		texts = append(texts, p.String())
	}
	return "PostgreSQL settings: " + strings.Join(texts, "; ")
}

// ValidateParameters says everything that is wrong with the settings, sorted by
// name; nil means that they may be used. A setting passes when PostgreSQL 17 has
// it, its value has the type, unit and range that PostgreSQL wants, and the
// cluster does not depend on another value.
func ValidateParameters(parameters map[string]string) []Problem {
	var problems []Problem
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if message := faultOf(name, parameters[name]); message != "" {
			problems = append(problems, Problem{Name: printable(name), Message: message})
		}
	}
	if p, ok := reservedFault(parameters); ok && len(problems) == 0 {
		problems = append(problems, p)
	}
	return problems
}

// ValidateMemory says which settings do not fit into a node's memory.
func ValidateMemory(parameters map[string]string, memoryMB int) []Problem {
	value, given := parameters["shared_buffers"]
	pages, err := settings()["shared_buffers"].number(value)
	if !given || err != nil || memoryMB <= 0 {
		return nil // its form is the business of ValidateParameters
	}
	if limit := memoryMB * 3 / 4; pages*8/1024 > float64(limit) {
		return []Problem{{Name: "shared_buffers", Message: fmt.Sprintf(
			"%s is more than three quarters of the node's memory of %d MB; it takes up to %dMB", value, memoryMB, limit)}}
	}
	return nil
}

func faultOf(name, value string) string {
	if !settingShape.MatchString(name) {
		return "this is not the name of a PostgreSQL setting"
	}
	if why := refusal(name); why != "" {
		return "it cannot be set: " + why
	}
	if strings.Contains(name, ".") {
		return moduleFault(name, value)
	}
	s, known := settings()[name]
	switch {
	case !known && suggestion(name) != "":
		return "write it " + suggestion(name)
	case !known:
		return "PostgreSQL 17 has no setting of this name"
	case s.context == "internal":
		return "it cannot be set: PostgreSQL only shows it"
	}
	if err := s.check(value); err != nil {
		return fmt.Sprintf("the value %s does not fit: %v", shown(value), err)
	}
	if err := s.checkPolicy(value); err != nil {
		return fmt.Sprintf("the value %s does not fit: %v", shown(value), err)
	}
	return ""
}

// moduleFault looks at module.setting. The table does not know modules'
// settings; PostgreSQL takes those that it does not know either.
func moduleFault(name, value string) string {
	if !moduleForm.MatchString(name) {
		return "only the settings of pg_stat_statements, auto_explain, pg_prewarm and plpgsql can be set"
	}
	if err := checkText(value); err != nil {
		return fmt.Sprintf("the value %s does not fit: %v", shown(value), err)
	}
	return ""
}

// reservedFault finds the one combination that PostgreSQL checks at its start.
func reservedFault(parameters map[string]string) (Problem, bool) {
	count := func(name string, otherwise float64) float64 {
		if n, err := settings()[name].number(parameters[name]); err == nil {
			return n
		}
		return otherwise
	}
	reserved := count("superuser_reserved_connections", 3) + count("reserved_connections", 0)
	if all := count("max_connections", smallMaxConnections); reserved >= all {
		return Problem{Name: "reserved_connections", Message: fmt.Sprintf(
			"%s reserved connections leave none of max_connections %s for users", plain(reserved), plain(all))}, true
	}
	return Problem{}, false
}

// shown is a value as far as a sentence bears it.
func shown(value string) string {
	if runes := []rune(value); len(runes) > 40 {
		value = string(runes[:40]) + "…"
	}
	return fmt.Sprintf("%q", value)
}

// printable keeps a hostile name from spoiling the message about it.
func printable(name string) string {
	if len(name) > 63 {
		name = name[:63]
	}
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name), "?")
}
