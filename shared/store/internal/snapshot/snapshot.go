// Package snapshot copies values as encoding them as JSON and decoding that would: the copy shares no memory with the
// original, lacks what JSON leaves out, and is what a database would give back. It costs a small part of that.
package snapshot

import (
	"encoding"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/civil"
	"github.com/go-json-experiment/json"
	"github.com/shopspring/decimal"
)

// Of copies a value. It fails where JSON would.
func Of[T any](v *T) (*T, error) {
	c := new(T)
	*c = *v
	return c, alone(c)
}

// Into copies what src points to into what dst points to. Where their types differ, as those of two programs that read one
// document may, what only one of them knows is left out.
func Into[T any](dst *T, src any) error {
	if from, ok := src.(*T); ok {
		*dst = *from
		return alone(dst)
	}
	convert(reflect.ValueOf(dst).Elem(), reflect.ValueOf(src).Elem())
	return alone(dst)
}

// Detacher is a type that knows how to copy what its values point to, faster than that is found out by reflection. It must
// do the same.
type Detacher interface{ Detach() }

// alone detaches what was copied into v.
func alone[T any](v *T) error {
	if d, ok := any(v).(Detacher); ok {
		d.Detach()
		return nil
	}
	if d := part(reflect.TypeFor[T]()); d != nil {
		return d(reflect.ValueOf(v).Elem())
	}
	return nil
}

// detach makes of a value whose memory was copied, and nothing that it points to, a copy on its own.
type detach func(v reflect.Value) error

var known sync.Map // reflect.Type → detach

// part finds how values of a type are detached, and works it out when it is first asked; nil for what points to nothing.
func part(t reflect.Type) detach {
	found, ok := known.Load(t)
	if !ok {
		found, _ = known.LoadOrStore(t, compile(t))
	}
	d, _ := found.(detach)
	return d
}

func compile(t reflect.Type) detach {
	switch t {
	case reflect.TypeFor[time.Time]():
		return moment
	case reflect.TypeFor[civil.Date]():
		return date
	case reflect.TypeFor[decimal.Decimal]():
		return number
	}
	switch k := t.Kind(); {
	case encodesItself(t):
		return encoded
	case k >= reflect.Bool && k <= reflect.Uint64 || k == reflect.String:
		return nil
	case k == reflect.Pointer:
		return pointer(t)
	case k == reflect.Slice:
		return slice(t)
	case k == reflect.Map && t.Key().Kind() == reflect.String && !encodesItself(t.Key()):
		return table(t)
	case k == reflect.Struct:
		return structure(t)
	}
	return encoded
}

// encodesItself reports whether JSON asks the type, rather than looking into it.
func encodesItself(t reflect.Type) bool {
	return slices.ContainsFunc([]reflect.Type{
		reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.MarshalerTo](), reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[json.UnmarshalerFrom](),
		reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextAppender](), reflect.TypeFor[encoding.TextUnmarshaler](),
	}, reflect.PointerTo(t).Implements)
}

// encoded goes by way of JSON itself.
func encoded(v reflect.Value) error {
	text, err := json.Marshal(v.Addr().Interface())
	if err != nil {
		return err
	}
	v.SetZero()
	return json.Unmarshal(text, v.Addr().Interface())
}

// moment keeps the instant and the offset, not the monotonic clock.
func moment(v reflect.Value) error {
	t, ok := reflect.TypeAssert[time.Time](v)
	if !ok || t.Location() != time.UTC {
		return encoded(v)
	}
	if plain := t.Round(0).UTC(); plain != t {
		v.Set(reflect.ValueOf(plain))
	}
	return nil
}

var errDate = errors.New("a date that is none")

func date(v reflect.Value) error {
	if d, ok := reflect.TypeAssert[civil.Date](v); !ok || d.Month == 0 || d.Day == 0 {
		return errDate
	}
	return nil
}

// number leaves the digits shared, since nothing changes them.
func number(v reflect.Value) error {
	d, ok := reflect.TypeAssert[decimal.Decimal](v)
	if e := d.Exponent(); !ok || e > 0 || e < 0 && (d.NumDigits() > 18 || d.CoefficientInt64()%10 == 0) {
		return encoded(v) // its text is another than its digits
	}
	return nil
}

func pointer(t reflect.Type) detach {
	to := sync.OnceValue(func() detach { return part(t.Elem()) }) // later: types may contain themselves
	return func(v reflect.Value) error {
		if v.IsNil() {
			return nil
		}
		c := reflect.New(t.Elem())
		c.Elem().Set(v.Elem())
		v.Set(c)
		if d := to(); d != nil {
			return d(c.Elem())
		}
		return nil
	}
}

func slice(t reflect.Type) detach {
	to := sync.OnceValue(func() detach { return part(t.Elem()) })
	none := reflect.MakeSlice(t, 0, 0)
	scratch := sync.Pool{New: func() any { return new(reflect.New(t).Elem()) }}
	return func(v reflect.Value) error {
		n := v.Len()
		if n == 0 {
			v.Set(none)
			return nil
		}
		old, _ := scratch.Get().(*reflect.Value)
		old.Set(v)
		v.SetZero()
		v.Grow(n)
		v.SetLen(n)
		reflect.Copy(v, *old)
		old.SetZero()
		scratch.Put(old)
		d := to()
		if d == nil {
			return nil
		}
		for i := range n {
			if err := d(v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	}
}

// entry is room for one entry of a map.
type entry struct {
	key, element reflect.Value
	each         reflect.MapIter
}

func table(t reflect.Type) detach {
	to := sync.OnceValue(func() detach { return part(t.Elem()) })
	scratch := sync.Pool{New: func() any {
		return &entry{key: reflect.New(t.Key()).Elem(), element: reflect.New(t.Elem()).Elem()}
	}}
	return func(v reflect.Value) error {
		c := reflect.MakeMapWithSize(t, v.Len())
		e, _ := scratch.Get().(*entry)
		d := to()
		for e.each.Reset(v); e.each.Next(); {
			e.key.SetIterKey(&e.each)
			e.element.SetIterValue(&e.each)
			if d != nil {
				if err := d(e.element); err != nil {
					return err
				}
			}
			c.SetMapIndex(e.key, e.element)
		}
		v.Set(c)
		e.each.Reset(reflect.Value{})
		e.key.SetZero()
		e.element.SetZero()
		scratch.Put(e)
		return nil
	}
}

// field is one that is not copied by copying memory.
type field struct {
	at          int
	detach      detach
	zero, empty bool // left out where it is
}

func structure(t reflect.Type) detach {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options := member(f)
		if f.Anonymous && !f.IsExported() || slices.ContainsFunc(options, unknown) {
			return encoded // what embedding brings in, or another option asks for, is out of reach
		}
		if name == "" {
			fields = append(fields, field{at: i, detach: forget})
			continue
		}
		d := field{at: i, detach: part(f.Type), zero: slices.Contains(options, "omitzero")}
		if slices.Contains(options, "omitempty") {
			switch k := f.Type.Kind(); {
			case k == reflect.Slice || k == reflect.Map:
				d.empty = true
			case mayBeEmpty(f.Type):
				d.detach = unlessEmpty
			}
		}
		if d.detach != nil {
			fields = append(fields, d)
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return func(v reflect.Value) error {
		for i := range fields {
			f := &fields[i]
			at := v.Field(f.at)
			if f.zero && at.IsZero() || f.empty && at.Len() == 0 {
				at.SetZero()
				continue
			}
			if err := f.detach(at); err != nil {
				return err
			}
		}
		return nil
	}
}

// mayBeEmpty reports whether a value that is not zero can be one of the four that omitempty leaves out.
func mayBeEmpty(t reflect.Type) bool {
	switch k := t.Kind(); {
	case encodesItself(t), k == reflect.Interface, k == reflect.Slice, k == reflect.Map:
		return true
	case k == reflect.Pointer:
		return t.Elem().Kind() == reflect.String || mayBeEmpty(t.Elem())
	case k != reflect.Struct:
		return false
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if name, options := member(f); name != "" && !f.Anonymous && !slices.Contains(options, "omitempty") && !slices.Contains(options, "omitzero") {
			return false
		}
	}
	return true
}

// unlessEmpty leaves out what is encoded as something empty.
func unlessEmpty(v reflect.Value) error {
	text, err := json.Marshal(v.Addr().Interface())
	if err != nil {
		return err
	}
	v.SetZero()
	if slices.Contains([]string{"null", `""`, "{}", "[]"}, string(text)) {
		return nil
	}
	return json.Unmarshal(text, v.Addr().Interface())
}

// forget clears a field that JSON does not know, though it may be nobody else's business.
func forget(v reflect.Value) error {
	if !v.IsZero() {
		reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem().SetZero()
	}
	return nil
}

// member is the name of a field in JSON and what else its tag says; "" where it has none there.
func member(f reflect.StructField) (name string, options []string) {
	parts := strings.Split(f.Tag.Get("json"), ",")
	switch {
	case !f.IsExported() || parts[0] == "-":
		return "", nil
	case parts[0] == "":
		return f.Name, parts[1:]
	}
	return parts[0], parts[1:]
}

func unknown(option string) bool { return option != "omitempty" && option != "omitzero" }

type pair struct{ to, from reflect.Type }

var conversions sync.Map // pair → [][2]int

// convert copies the members that two structs have in common. Those must be of the same types.
func convert(dst, src reflect.Value) {
	p := pair{dst.Type(), src.Type()}
	found, ok := conversions.Load(p)
	if !ok {
		found, _ = conversions.LoadOrStore(p, common(p))
	}
	list, _ := found.([][2]int)
	for _, f := range list {
		dst.Field(f[0]).Set(src.Field(f[1]))
	}
}

// common lists the members of two structs by the indexes of their fields.
func common(p pair) (list [][2]int) {
	for i := range p.to.NumField() {
		for j := range p.from.NumField() {
			name, _ := member(p.to.Field(i))
			if other, _ := member(p.from.Field(j)); name != "" && name == other {
				list = append(list, [2]int{i, j})
			}
		}
	}
	return list
}
