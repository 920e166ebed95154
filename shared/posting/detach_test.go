package posting

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/civil"
	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/memory"
)

// fill gives every exported field a value, whatever fields there will be.
func fill(v reflect.Value) {
	switch v.Addr().Interface().(type) {
	case *time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)))
		return
	case *civil.Date:
		v.Set(reflect.ValueOf(civil.Date{Year: 2026, Month: 11, Day: 19}))
		return
	case *decimal.Decimal:
		v.Set(reflect.ValueOf(decimal.New(1234, -2)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("some-text-of-twenty")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		element := reflect.New(v.Type().Elem()).Elem()
		fill(element)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), element)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	}
}

// places lists every slice, map and pointer that v leads to, each of which can also be nil or empty.
func places(v reflect.Value, found *[]reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.CanSet() {
			*found = append(*found, v)
		}
		if !v.IsNil() {
			places(v.Elem(), found)
		}
	case reflect.Slice:
		*found = append(*found, v)
		for i := range v.Len() {
			if v.Index(i).Kind() == reflect.Pointer { // nobody keeps a list of nothing
				places(v.Index(i).Elem(), found)
			}
		}
	case reflect.Map:
		*found = append(*found, v)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && f.Type() != reflect.TypeFor[time.Time]() && f.Type() != reflect.TypeFor[decimal.Decimal]() {
				places(f, found)
			}
		}
	}
}

// full gives a value of which every field is set, and which is like none that was given before.
func full[T any]() *T {
	v := new(T)
	fill(reflect.ValueOf(v).Elem())
	return v
}

var unexported = cmp.AllowUnexported(Row{})

// throughStores compares what two stores give back of a value, of which one knows only its JSON.
func throughStores[T any](t *testing.T, kind store.Kind[T], v *T) {
	t.Helper()
	back := func(s store.Store) *T {
		if err := s.Update(t.Context(), func(tx store.Tx) error { return kind.Put(tx, v) }); err != nil {
			t.Fatal(err)
		}
		got, err := kind.Get(t.Context(), s, kind.ID(v))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if diff := cmp.Diff(back(memory.New()), back(memory.NewOfValues()), unexported); diff != "" {
		t.Errorf("%s (-JSON +detached):\n%s", kind.Name, diff)
	}
}

func detachesLikeJSON[T any](t *testing.T, kind store.Kind[T]) {
	t.Helper()
	var all []reflect.Value
	places(reflect.ValueOf(full[T]()).Elem(), &all)
	for n := range all {
		for _, empty := range []bool{false, true} {
			v := full[T]()
			var found []reflect.Value
			places(reflect.ValueOf(v).Elem(), &found)
			switch at := found[n]; {
			case empty && at.Kind() == reflect.Slice:
				at.Set(reflect.MakeSlice(at.Type(), 0, 0))
			case empty && at.Kind() == reflect.Map:
				at.Set(reflect.MakeMap(at.Type()))
			default:
				at.SetZero()
			}
			throughStores(t, kind, v)
		}
	}
	throughStores(t, kind, full[T]())
}

func TestWhatDetachesItselfIsWhatJSONGivesBack(t *testing.T) {
	t.Parallel()
	detachesLikeJSON(t, Engines)
	detachesLikeJSON(t, Segments)
	s := full[Segment]()
	s.Rows[0].created, s.Rows[0].at = true, "account"
	throughStores(t, Segments, s)
}

// What is changed in the original, anywhere, must not show in the copy.
func TestWhatDetachesItselfSharesNoMemory(t *testing.T) {
	t.Parallel()
	sharesNothing(t, Engines)
	sharesNothing(t, Segments)
}

func sharesNothing[T any](t *testing.T, kind store.Kind[T]) {
	t.Helper()
	v, want, s := full[T](), full[T](), memory.NewOfValues()
	if err := s.Update(t.Context(), func(tx store.Tx) error { return kind.Put(tx, v) }); err != nil {
		t.Fatal(err)
	}
	id := kind.ID(v)
	for range 2 { // what was put is spoilt, then what was read
		var found []reflect.Value
		places(reflect.ValueOf(v).Elem(), &found)
		for _, at := range slices.Backward(found) { // what hangs on a place before the place itself
			spoil(at)
		}
		got, err := kind.Get(t.Context(), s, id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, unexported); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", kind.Name, diff)
		}
		v = got
	}
}

func spoil(at reflect.Value) {
	switch at.Kind() {
	case reflect.Map:
		at.Clear()
	case reflect.Slice:
		at.Index(0).SetZero()
	case reflect.Pointer:
		at.Elem().SetZero()
	}
}
