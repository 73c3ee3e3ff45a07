package patroni

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// longest is how long the text of a setting may be, in bytes.
const longest = 1000

// number is what PostgreSQL reads as a number with a unit (guc.c: parse_int),
// without octal, which surprises people, and infinities.
var number = regexp.MustCompile(`^([+-]?(?:0|[1-9][0-9]*|0?\.[0-9]+|(?:0|[1-9][0-9]*)\.[0-9]*|0[xX][0-9a-fA-F]+)(?:[eE][+-]?[0-9]{1,3})?)\s*([A-Za-z]*)$`)

// check says what is wrong with a value of this setting, as PostgreSQL would.
func (s setting) check(value string) error {
	if err := checkText(value); err != nil {
		return err
	}
	switch s.kind {
	case "bool":
		if !isBool(value) {
			return errors.New("it takes on or off")
		}
	case "enum":
		return s.checkChoice(value)
	case "integer", "real":
		_, err := s.number(value)
		return err
	}
	return nil
}

// checkText refuses what no setting needs and what could end a line in
// postgresql.conf.
func checkText(value string) error {
	if len(value) > longest {
		return fmt.Errorf("the value is longer than %d bytes", longest)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return errors.New("the value has a character that cannot be printed")
	}
	return nil
}

func isBool(value string) bool {
	return slices.Contains([]string{"on", "off", "true", "false", "yes", "no", "1", "0"}, strings.ToLower(value))
}

func (s setting) checkChoice(value string) error {
	if slices.ContainsFunc(s.choices, func(c string) bool { return strings.EqualFold(c, value) }) {
		return nil
	}
	if slices.Contains(s.choices, "on") && slices.Contains(s.choices, "off") && isBool(value) {
		return nil
	}
	return fmt.Errorf("it takes one of %s", strings.Join(s.choices, ", "))
}

// number is the value in the setting's own unit, within its bounds.
func (s setting) number(value string) (float64, error) {
	parts := number.FindStringSubmatch(strings.TrimSpace(value))
	if parts == nil {
		return 0, fmt.Errorf("it takes a number%s", s.example())
	}
	got, err := strconv.ParseFloat(hexFloat(parts[1]), 64)
	if err != nil {
		return 0, fmt.Errorf("it takes a number%s", s.example())
	}
	factor, err := s.factor(parts[2])
	if err != nil {
		return 0, err
	}
	got *= factor
	if s.kind == "integer" {
		if parts[2] == "" && got != math.Trunc(got) {
			return 0, errors.New("it takes a whole number")
		}
		got = math.RoundToEven(got)
	}
	if got < s.min || got > s.max {
		return 0, fmt.Errorf("it takes %s to %s%s", plain(s.min), plain(s.max), s.unitPhrase())
	}
	return got, nil
}

// hexFloat makes a hexadecimal whole number readable to strconv.ParseFloat.
func hexFloat(text string) string {
	if strings.Contains(strings.ToLower(text), "0x") {
		return text + "p0"
	}
	return text
}

func (s setting) example() string {
	if _, ok := memoryUnits[s.unit]; ok {
		return " with a unit, like 64MB"
	}
	if _, ok := timeUnits[s.unit]; ok {
		return " with a unit, like 30s"
	}
	return ""
}

func (s setting) unitPhrase() string {
	if s.unit == "" {
		return ""
	}
	return " (in units of " + s.unit + ")"
}

func plain(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
