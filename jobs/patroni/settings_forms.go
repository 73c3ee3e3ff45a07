package patroni

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a zone is looked up alike on every machine
)

// forms are the texts that PostgreSQL would not start with otherwise, or that
// would load something. Where the image's contents count, the list is closed.
var forms = map[string]struct {
	form *regexp.Regexp
	says string
}{
	"DateStyle":                        {regexp.MustCompile(`(?i)^(ISO|SQL|Postgres|German)(, ?(DMY|MDY|YMD))?$`), "it takes a style and an order, like ISO, DMY"},
	"lc_messages":                      {localeForm, "the nodes have the locales C and C.UTF-8"},
	"lc_monetary":                      {localeForm, "the nodes have the locales C and C.UTF-8"},
	"lc_numeric":                       {localeForm, "the nodes have the locales C and C.UTF-8"},
	"lc_time":                          {localeForm, "the nodes have the locales C and C.UTF-8"},
	"huge_pages":                       {regexp.MustCompile(`(?i)^(off|try|no|false|0)$`), "a container has no huge pages to rely on: it takes off or try"},
	"timezone_abbreviations":           {regexp.MustCompile(`^(Default|Australia|India)$`), "it takes Default, Australia or India"},
	"client_encoding":                  {encodingForm, "it takes an encoding's name, like UTF8"},
	"default_text_search_config":       {regexp.MustCompile(`^(pg_catalog\.)?(simple|` + snowball + `)$`), "it takes a configuration of PostgreSQL's own, like pg_catalog.german"},
	"restrict_nonsystem_relation_kind": {regexp.MustCompile(`^((view|foreign-table)(, ?(view|foreign-table))?)?$`), "it takes view, foreign-table or both"},
	"createrole_self_grant":            {regexp.MustCompile(`^((set|inherit)(, ?(set|inherit))?)?$`), "it takes set, inherit or both"},
	"shared_preload_libraries":         {regexp.MustCompile(`^(` + preloadable + `)?(, ?(` + preloadable + `))*$`), "it takes a list of pg_stat_statements, auto_explain and pg_prewarm"},
}

// snowball are the languages of PostgreSQL's text search.
const snowball = `arabic|armenian|basque|catalan|danish|dutch|english|estonian|finnish|french|german|greek|hindi|hungarian|` +
	`indonesian|irish|italian|lithuanian|nepali|norwegian|portuguese|romanian|russian|serbian|spanish|swedish|tamil|turkish|yiddish`

// preloadable are the modules of PostgreSQL's own contrib folder that are loaded
// at the start; they bring settings of their own.
const preloadable = `pg_stat_statements|auto_explain|pg_prewarm`

var (
	localeForm   = regexp.MustCompile(`^(C|POSIX|C\.UTF-?8|C\.utf8)$`)
	encodingForm = regexp.MustCompile(`(?i)^(UTF-?8|SQL_ASCII|LATIN([1-9]|10)|WIN(866|874|125[0-8])|ISO_8859_[5-8]|KOI8[RU]|` +
		`EUC_(JP|CN|KR|TW|JIS_2004)|SHIFT_JIS_2004|SJIS|BIG5|GBK|UHC|GB18030|JOHAB)$`)
	moduleForm   = regexp.MustCompile(`^(` + preloadable + `|plpgsql)\.[a-z][a-z0-9_]{0,40}$`)
	settingShape = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]{0,62}$`)
)

// checkPolicy says what is to be said of a value beyond type and range.
func (s setting) checkPolicy(value string) error {
	if want, ok := forms[s.name]; ok && !want.form.MatchString(value) {
		return errors.New(want.says)
	}
	switch {
	case s.name == "TimeZone" || s.name == "log_timezone":
		return checkZone(value)
	case s.kind == "integer":
		return s.checkNumber(value)
	}
	return nil
}

// checkZone refuses what PostgreSQL would not know. It knows more than this: its
// own abbreviations and POSIX rules.
func checkZone(value string) error {
	if _, err := time.LoadLocation(value); err != nil || value == "" || strings.EqualFold(value, "local") {
		return errors.New("it takes a time zone's name, like Europe/Berlin")
	}
	return nil
}

func (s setting) checkNumber(value string) error {
	got, err := s.number(value)
	if err != nil {
		return err
	}
	floor, hasFloor := floors[s.name]
	ceiling, hasCeiling := ceilings[s.name]
	switch {
	case hasFloor && got < floor:
		return fmt.Errorf("a cluster needs at least %s%s", plain(floor), s.unitPhrase())
	case hasCeiling && got > ceiling:
		return fmt.Errorf("a node allows at most %s%s", plain(ceiling), s.unitPhrase())
	case slices.Contains(sixteens, s.name) && int64(got)%16 != 0:
		return errors.New("it takes a multiple of 16 (in units of 8kB)")
	case s.name == "vacuum_buffer_usage_limit" && got != 0 && got < 128:
		return errors.New("it takes 0, or 128kB and more")
	}
	return nil
}
