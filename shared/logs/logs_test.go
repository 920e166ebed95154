package logs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/logs"
	"github.com/bkper/automations-portal/shared/secret"
)

const id = "4bf92f3577b34da6a3ce929d0e0e4736"

func object(t *testing.T, line []byte) map[string]any {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	delete(got, "time")
	return got
}

func TestALineHasTheFieldNamesOfCloudLogging(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(logs.NewJSON(&out, logs.Options{Project: "p1"}))
	ctx := logs.WithTrace(t.Context(), logs.Trace{ID: id, Span: "00f067aa0ba902b7", Sampled: true})
	log.WarnContext(ctx, "look", "connection", "c1", "error", errors.New("why"))
	want := map[string]any{
		"severity": "WARNING", "message": "look", "connection": "c1", "error": "why",
		"logging.googleapis.com/trace":         "projects/p1/traces/" + id,
		"logging.googleapis.com/spanId":        "00f067aa0ba902b7",
		"logging.googleapis.com/trace_sampled": true,
	}
	if diff := cmp.Diff(want, object(t, out.Bytes())); diff != "" {
		t.Error(diff)
	}
}

func TestTheTraceStaysAtTheTopWhateverGroupsAreOpen(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(logs.NewJSON(&out, logs.Options{})).With("a", 1).WithGroup("g").With("b", 2)
	log.InfoContext(logs.WithTrace(t.Context(), logs.Trace{ID: id}), "m", "level", "mine")
	want := map[string]any{
		"severity": "INFO", "message": "m", "a": 1.0, "logging.googleapis.com/trace": id,
		"g": map[string]any{"b": 2.0, "level": "mine"},
	}
	if diff := cmp.Diff(want, object(t, out.Bytes())); diff != "" {
		t.Error(diff)
	}
}

func TestSeveritiesAreGooglesAndLessIsNotWritten(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(logs.NewJSON(&out, logs.Options{Level: slog.LevelInfo}))
	log.Debug("no")
	log.Info("i")
	log.Error("e")
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2", len(lines))
	}
	for n, want := range []string{"INFO", "ERROR"} {
		if got := object(t, lines[n])["severity"]; got != want {
			t.Errorf("severity %v, want %v", got, want)
		}
	}
}

func TestASecretIsMaskedWhereverItIsLogged(t *testing.T) {
	token := secret.New("hush-hush")
	type holder struct{ Token secret.String }
	for _, of := range []func(*bytes.Buffer) slog.Handler{
		func(b *bytes.Buffer) slog.Handler { return logs.NewJSON(b, logs.Options{}) },
		func(b *bytes.Buffer) slog.Handler { return logs.NewText(b, logs.Options{}) },
	} {
		var out bytes.Buffer
		slog.New(of(&out)).Info("m", "token", token, "holder", holder{token}, "list", []secret.String{token})
		if strings.Contains(out.String(), "hush") || !strings.Contains(out.String(), "[secret]") {
			t.Errorf("line %s", out.String())
		}
	}
}

func TestATerminalLineNamesTheTrace(t *testing.T) {
	var out bytes.Buffer
	slog.New(logs.NewText(&out, logs.Options{})).InfoContext(logs.WithTrace(t.Context(), logs.Trace{ID: id}), "m")
	if !strings.Contains(out.String(), "trace="+id) {
		t.Errorf("line %s", out.String())
	}
}

func TestATraceIsWrittenAsItIsRead(t *testing.T) {
	for _, want := range []logs.Trace{{ID: id, Span: "00f067aa0ba902b7", Sampled: true}, {ID: id, Span: "00f067aa0ba902b7"}} {
		if got, ok := logs.ParseParent(want.Parent()); !ok || got != want {
			t.Errorf("%+v is written as %s and read as %+v", want, want.Parent(), got)
		}
	}
	if got, ok := logs.ParseParent(logs.Trace{ID: id}.Parent()); !ok || got.ID != id || got.Span == "" {
		t.Errorf("a trace without a span is read as %+v, %v", got, ok)
	}
}

func TestTracesAreReadFromEitherHeader(t *testing.T) {
	for _, row := range []struct {
		header, value string
		want          logs.Trace
		ok            bool
	}{
		{"traceparent", "00-" + id + "-00f067aa0ba902b7-01", logs.Trace{ID: id, Span: "00f067aa0ba902b7", Sampled: true}, true},
		{"traceparent", "00-" + id + "-00f067aa0ba902b7-00", logs.Trace{ID: id, Span: "00f067aa0ba902b7"}, true},
		{"traceparent", "00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", logs.Trace{}, false},
		{"traceparent", "00-" + id[:30] + "\n\"-00f067aa0ba902b7-01", logs.Trace{}, false},
		{"traceparent", "-", logs.Trace{}, false},
		{"X-Cloud-Trace-Context", id + "/123;o=1", logs.Trace{ID: id, Sampled: true}, true},
		{"X-Cloud-Trace-Context", id, logs.Trace{ID: id}, true},
		{"X-Cloud-Trace-Context", strings.ToUpper(id), logs.Trace{}, false},
		{"X-Cloud-Trace-Context", "", logs.Trace{}, false},
	} {
		h := http.Header{}
		h.Set(row.header, row.value)
		got, ok := logs.ParseTrace(h)
		if got != row.want || ok != row.ok {
			t.Errorf("%s: %q gives %+v, %v", row.header, row.value, got, ok)
		}
	}
}
