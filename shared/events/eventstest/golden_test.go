package eventstest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bkper/automations-portal/shared/events"
)

// TestMessagesOfEveryReleasedVersionDecode reads pushes as they were received. A file is never changed and never removed:
// such messages may wait in a dead letter for years.
func TestMessagesOfEveryReleasedVersionDecode(t *testing.T) {
	files, err := filepath.Glob("testdata/v*.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var golden struct {
				Push json.RawMessage `json:"push"`
				Want events.Delivery `json:"want"`
			}
			if err := json.Unmarshal(text, &golden); err != nil {
				t.Fatal(err)
			}
			got, err := events.Decode(golden.Push)
			if err != nil {
				t.Fatal(err)
			}
			if golden.Want.Published.IsZero() { // it was not read in those days
				got.Published = time.Time{}
			}
			if diff := cmp.Diff(golden.Want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMessagesAreWrittenAsVersionOneReadsThem guards the other direction: during a deployment the old revision reads what
// the new one writes.
func TestMessagesAreWrittenAsVersionOneReadsThem(t *testing.T) {
	got, err := json.Marshal([]events.Message{
		{Connection: "c"}, {Connection: "c", Deep: true}, {Provider: "p", Item: "i"}, {Session: "s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"connection":"c"},{"connection":"c","deep":true},{"provider":"p","item":"i"},{"session":"s"}]`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
