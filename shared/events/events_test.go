package events

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// push is a push request with data as its message.
func push(t testing.TB, data string) string {
	body, err := json.Marshal(map[string]any{"message": map[string]any{"data": []byte(data), "messageId": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestWhatIsNoPushOfOursIsMalformed(t *testing.T) {
	for _, body := range []string{
		``, `null`, `[]`, `{}`, `{"message":null}`, `{"message":{}}`, `{"message":{"data":null,"messageId":"1"}}`,
		`{"message":{"data":"not base64!","messageId":"1"}}`, `{"message":{"data":"e30","messageId":"1"}}`,
		`{"message":{"data":"e30=","messageId":1}}`, `{"message":{"data":"e30="},"deliveryAttempt":"1"}`,
		`{"message":{"data":"e30="},"deliveryAttempt":1.5}`, push(t, ``), push(t, `null`), push(t, `[]`), push(t, `"x"`),
		push(t, `{"connection":1}`), push(t, `{"deep":"yes"}`), push(t, `{}{}`), push(t, `{"connection":"c"`),
		push(t, `{"connection":"c"}`) + `x`, strings.Repeat(`{"message":`, 20_000),
	} {
		if d, err := Decode([]byte(body)); !errors.Is(err, ErrMalformed) || d != (Delivery{}) {
			t.Errorf("%.80s: got %+v, %v; want ErrMalformed", body, d, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(push(f, `{"connection":"c","provider":"p","item":"i","deep":true,"session":"s"}`)))
	f.Add([]byte(`{"deliveryAttempt":7,"message":{"data":"eyJzZXNzaW9uIjoicyJ9","messageId":"1"}}`))
	f.Add([]byte(`{"message":{"data":null}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<16 {
			return // the HTTP edge bounds bodies
		}
		d, err := Decode(body)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || d != (Delivery{}) {
				t.Fatalf("got %+v, %v", d, err)
			}
			return
		}
		data, err := json.Marshal(d.Message)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode([]byte(push(t, string(data))))
		if err != nil || again.Message != d.Message {
			t.Fatalf("%+v written and read is %+v, %v", d.Message, again.Message, err)
		}
		for _, text := range []string{d.Connection, d.Provider, d.Item, d.Session} {
			if !utf8.ValidString(text) {
				t.Fatalf("not UTF-8: %q", text)
			}
		}
	})
}
