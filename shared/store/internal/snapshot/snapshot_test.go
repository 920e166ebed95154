package snapshot_test

import (
	"reflect"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/bkper/automations-portal/shared/store/internal/snapshot"
)

// all has a field of each sort that a document may have.
type all struct {
	Text    string                        `json:"text"`
	Number  int64                         `json:"number,omitempty"`
	Flag    bool                          `json:"flag,omitzero"`
	Named   kindOf                        `json:"named"`
	Inside                                // its members are those of the document
	Amount  decimal.Decimal               `json:"amount"`
	Price   *decimal.Decimal              `json:"price,omitempty"`
	Day     civil.Date                    `json:"day,omitzero"`
	At      time.Time                     `json:"at"`
	Until   time.Time                     `json:"until,omitzero"`
	List    []string                      `json:"list"`
	Sparse  []string                      `json:"sparse,omitempty"`
	Things  []*Inside                     `json:"things,omitempty"`
	Flat    []Inside                      `json:"flat"`
	One     *Inside                       `json:"one,omitempty"`
	Self    *all                          `json:"self"`
	Counts  map[string]int                `json:"counts"`
	Days    map[string]civil.Date         `json:"days,omitempty"`
	Nested  map[kindOf]map[string]*Inside `json:"nested,omitempty"`
	Raw     []byte                        `json:"raw"`
	Fixed   [2]string                     `json:"fixed"`
	Any     any                           `json:"any"`
	Spelt   spelt                         `json:"spelt"`
	Skipped string                        `json:"-"`
	hidden  []string
}

type kindOf string

// Inside is exported because JSON, and whoever copies, reaches embedded fields only so.
type Inside struct {
	Word   string      `json:"word,omitempty"`
	Times  []time.Time `json:"times,omitempty"`
	Last   time.Time   `json:"last,omitzero"`
	secret string
}

// spelt has an encoding of its own.
type spelt struct{ letters string }

func (s spelt) MarshalText() ([]byte, error) { return []byte("<" + s.letters + ">"), nil }

func (s *spelt) UnmarshalText(text []byte) error {
	s.letters = string(text[1 : len(text)-1])
	return nil
}

// The tests that use these run one after the other: a generator notes its name when it is first asked for it.
var (
	texts   = rapid.StringMatching(`[a-zà-ü ]{0,4}`)
	moments = rapid.Custom(func(t *rapid.T) time.Time {
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		return rapid.SampledFrom([]time.Time{{}, at.UTC(), at.In(time.FixedZone("", 5400)), time.Now()}).Draw(t, "at")
	})
	numbers = rapid.Custom(func(t *rapid.T) decimal.Decimal {
		return decimal.New(rapid.Int64().Draw(t, "coefficient"), rapid.Int32Range(-20, 20).Draw(t, "exponent"))
	})
	days = rapid.Custom(func(t *rapid.T) civil.Date { return civil.DateOf(time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), 0)) })
	ins  = rapid.Custom(func(t *rapid.T) Inside {
		return Inside{texts.Draw(t, "word"), rapid.SliceOfN(moments, -1, 2).Draw(t, "times"), moments.Draw(t, "last"), "s"}
	})
)

// some gives nil, an empty one, or more.
func some[T any](t *rapid.T, full T, empty T) T {
	var none T
	return rapid.SampledFrom([]T{none, empty, full}).Draw(t, "some")
}

func anything(t *rapid.T, depth int) *all {
	one, price := ins.Draw(t, "one"), numbers.Draw(t, "price")
	lists := rapid.SliceOfN(texts, 1, 3)
	v := &all{
		Text: texts.Draw(t, "text"), Number: rapid.Int64().Draw(t, "number"), Flag: rapid.Bool().Draw(t, "flag"), Named: "name", Inside: ins.Draw(t, "inside"),
		Amount: numbers.Draw(t, "amount"), Price: some(t, &price, nil), Day: some(t, days.Draw(t, "day"), civil.Date{}), At: moments.Draw(t, "at"), Until: moments.Draw(t, "until"),
		List: some(t, lists.Draw(t, "list"), []string{}), Sparse: some(t, lists.Draw(t, "sparse"), []string{}),
		Things: some(t, []*Inside{nil, {Word: "a", secret: "s"}}, []*Inside{}), Flat: some(t, []Inside{one}, []Inside{}), One: some(t, &one, nil),
		Counts: some(t, map[string]int{"a": 1, "b": 0}, map[string]int{}), Days: some(t, map[string]civil.Date{"a": days.Draw(t, "a")}, map[string]civil.Date{}),
		Nested: some(t, map[kindOf]map[string]*Inside{"a": {"b": &one}, "c": nil}, nil), Raw: some(t, []byte("raw"), []byte{}), Fixed: [2]string{"a", "b"},
		Any: some[any](t, map[string]any{"a": []any{"b", 1.5}}, nil), Spelt: spelt{texts.Draw(t, "spelt")}, Skipped: "skipped", hidden: []string{"hidden"},
	}
	if depth > 0 && rapid.Bool().Draw(t, "deeper") {
		v.Self = anything(t, depth-1)
	}
	return v
}

func TestACopyIsWhatJSONWouldGiveBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anything(t, 2)
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var want all
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		got, err := snapshot.Of(v)
		if err != nil {
			t.Fatal(err)
		}
		var again all
		if err := snapshot.Into(&again, got); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*all{got, &again} {
			if diff := cmp.Diff(&want, c, cmp.AllowUnexported(all{}, Inside{}, spelt{}), cmp.Comparer(sameNumber), cmp.Comparer(sameMoment)); diff != "" {
				t.Fatalf("(-JSON +copy):\n%s", diff)
			}
		}
	})
}

// sameNumber compares the digits too: what depends on them must not differ either.
func sameNumber(a, b decimal.Decimal) bool { return a.Equal(b) && a.Exponent() == b.Exponent() }

// sameMoment compares everything but the pointers to equal zones.
func sameMoment(a, b time.Time) bool {
	_, x := a.Zone()
	_, y := b.Zone()
	return a.Equal(b) && x == y && (a.Location() == time.UTC) == (b.Location() == time.UTC) && a.Round(0) == a && b.Round(0) == b
}

func TestACopySharesNoMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anything(t, 2)
		c, err := snapshot.Of(v)
		if err != nil {
			t.Fatal(err)
		}
		mine := map[uintptr]bool{}
		addresses(reflect.ValueOf(v), func(at uintptr, _ reflect.Type) { mine[at] = true })
		addresses(reflect.ValueOf(c), func(at uintptr, of reflect.Type) {
			if mine[at] {
				t.Fatalf("both hold the same %s", of)
			}
		})
	})
}

// addresses calls do with every place in memory that v leads to and that somebody could change.
func addresses(v reflect.Value, do func(uintptr, reflect.Type)) {
	switch v.Type() {
	case reflect.TypeFor[time.Time](), reflect.TypeFor[decimal.Decimal](): // nobody changes a zone or digits
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			do(v.Pointer(), v.Type())
			addresses(v.Elem(), do)
		}
	case reflect.Interface:
		if !v.IsNil() {
			addresses(v.Elem(), do)
		}
	case reflect.Slice:
		for i := range v.Len() {
			do(v.Index(i).Addr().Pointer(), v.Type())
			addresses(v.Index(i), do)
		}
	case reflect.Map:
		if !v.IsNil() {
			do(v.Pointer(), v.Type())
		}
		for each := v.MapRange(); each.Next(); {
			addresses(each.Value(), do)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			addresses(v.Field(i), do)
		}
	}
}

func TestAnotherTypeGetsWhatItKnows(t *testing.T) {
	t.Parallel()
	v := &all{Text: "t", List: []string{"a"}, Inside: Inside{Word: "w"}}
	var part struct {
		Text string   `json:"text"`
		New  int      `json:"new"`
		List []string `json:"list"`
	}
	if err := snapshot.Into(&part, v); err != nil {
		t.Fatal(err)
	}
	v.List[0] = "changed"
	if part.Text != "t" || part.List[0] != "a" || part.New != 0 {
		t.Errorf("%+v", part)
	}
}

func TestWhatJSONCannotExpressIsNotCopied(t *testing.T) {
	t.Parallel()
	type dated struct {
		Day civil.Date `json:"day"`
	}
	if _, err := snapshot.Of(&dated{}); err == nil {
		t.Error("a date that is none was copied")
	}
	if _, err := snapshot.Of(&all{Any: func() {}}); err == nil {
		t.Error("a function was copied")
	}
}
