// Package tolerant reads the JSON of providers as far as it can be understood: they add fields and values without notice, and
// one odd row must not hide the others.
package tolerant

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

var options = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// Unmarshal decodes a whole answer.
func Unmarshal(body []byte, out any) error { return json.Unmarshal(body, out, options) }

// Object decodes an object and reports whether it is one that can be decoded.
func Object(value jsontext.Value, out any) bool {
	return value.Kind() == '{' && Unmarshal(value, out) == nil
}

// Text returns a JSON string's text; "" for null, nothing, and every other kind.
func Text(value jsontext.Value) string {
	var s string
	if value.Kind() != '"' || Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}
