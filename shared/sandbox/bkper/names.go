package bkper

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// plainLetters are those that Bkper strips to ASCII although Unicode does not decompose them.
var plainLetters = strings.NewReplacer("ø", "o", "ł", "l", "đ", "d", "ß", "s", "æ", "ae", "ı", "i", "ħ", "h")

func stripMarks(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return plainLetters.Replace(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(strings.ToLower(s))))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Normalize returns the form in which Bkper compares names: lower case without diacritics, each run of spaces, hyphens
// and underscores one underscore. Source: bkper-js, normalizeName.
func Normalize(name string) string {
	words := strings.FieldsFunc(stripMarks(name), func(r rune) bool { return r == ' ' || r == '-' || r == '_' })
	return strings.Join(words, "_")
}

const maxKey = 30

// normalizeKey returns the form in which Bkper keeps a property's key.
func normalizeKey(key string) (string, error) {
	k := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '_'
		case r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return r
		}
		return -1
	}, stripMarks(strings.TrimSpace(key)))
	if k == "" || len(k) > maxKey {
		return "", invalid("Invalid property key [%s]: 1 to %d characters once normalised", key, maxKey)
	}
	return k, nil
}

// merge returns old with the sent properties; an empty value deletes its key.
func merge(old, sent map[string]string) (map[string]string, error) {
	all := map[string]string{}
	for k, v := range old {
		all[k] = v
	}
	for key, v := range sent {
		k, err := normalizeKey(key)
		if err != nil {
			return nil, err
		}
		if v == "" {
			delete(all, k)
		} else {
			all[k] = v
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}
