package secret_test

import (
	"bytes"
	"encoding"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"testing"
	"text/template"

	"github.com/bkper/automations-portal/shared/secret"
)

const token = "canary-4f1d"

type outer struct {
	Name   string
	Token  secret.String
	Ptr    *secret.String
	hidden secret.String
	Many   []secret.String
	Named  map[string]secret.String
	Any    any
}

func holder() outer {
	s := secret.New(token)
	return outer{"n", s, &s, s, []secret.String{s}, map[string]secret.String{"k": s}, s}
}

func TestNothingThatPrintsOrEncodesShowsASecret(t *testing.T) {
	t.Parallel()
	s, o := secret.New(token), holder()
	values := map[string]any{
		"value": s, "pointer": &s, "struct": o, "pointer to struct": &o, "slice": []any{s, &s}, "map": map[string]any{"a": s},
		"error": fmt.Errorf("wrapped: %w", errors.Join(fmt.Errorf("%v", s), fmt.Errorf("%+v", o))),
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%T"} {
			hides(t, name+" "+verb, fmt.Sprintf(verb, v))
		}
		hides(t, name+" Sprint", fmt.Sprint(v)+fmt.Sprintln(v))
		var text, structured, plain bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v, slog.Group("g", "v", v))
		slog.New(slog.NewJSONHandler(&structured, nil)).Info("m", "v", v, slog.Group("g", "v", v))
		log.New(&plain, "", 0).Printf("%v %+v", v, v)
		hides(t, name+" logs", text.String()+structured.String()+plain.String())
		if encoded, err := json.Marshal(v); err == nil {
			hides(t, name+" JSON", string(encoded))
		}
		if encoded, err := xml.Marshal(v); err == nil {
			hides(t, name+" XML", string(encoded))
		}
		var coded bytes.Buffer
		if gob.NewEncoder(&coded).Encode(v) == nil {
			hides(t, name+" gob", coded.String())
		}
		var page bytes.Buffer
		if template.Must(template.New("").Parse("{{.}}")).Execute(&page, v) == nil {
			hides(t, name+" template", page.String())
		}
	}
	hides(t, "a panic", fmt.Sprint(recovered(o)))
	if len(o.hidden.Reveal()) == 0 {
		t.Error("the unexported field holds no secret to be hidden")
	}
}

func recovered(v any) (r any) {
	defer func() { r = recover() }()
	panic(v)
}

func hides(t *testing.T, how, text string) {
	t.Helper()
	for _, form := range []string{token, fmt.Sprintf("%x", token), fmt.Sprintf("%X", token)} {
		if strings.Contains(text, form) {
			t.Errorf("%s shows the secret: %s", how, text)
		}
	}
}

func TestASecretCanBeReadAndComparedByWhoMay(t *testing.T) {
	t.Parallel()
	s := secret.New(token)
	if s.Reveal() != token || s.Empty() || !s.Equal(token) || s.Equal(token+"x") || s.Equal("") {
		t.Error("a secret is not what it was made of")
	}
	var zero secret.String
	if zero.Reveal() != "" || !zero.Empty() || !zero.Equal("") || zero.Equal(token) {
		t.Error("the zero secret is not empty")
	}
	var read secret.String
	var _ encoding.TextUnmarshaler = &read
	if err := read.UnmarshalText([]byte(token)); err != nil || !read.Equal(token) {
		t.Errorf("read %v", err)
	}
}
