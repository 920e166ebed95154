package posting

import (
	"maps"
	"slices"
)

// The documents that simulators copy most often say how, which is several times as fast as to find it out by reflection. Each
// field that points to something must be here; the tests of detaching know all of them.

// Detach makes e a copy of its own, as a store that keeps values wants it.
func (e *Engine) Detach() {
	e.Progress, e.Locked = table(e.Progress), table(e.Locked)
	e.Open = list(e.Open)
	for i, s := range e.Open {
		c := *s
		c.Detach()
		e.Open[i] = &c
	}
	if e.Read != nil {
		c := *e.Read
		c.Serves, c.Oldest, c.Written = table(c.Serves), table(c.Oldest), list(c.Written)
		e.Read = &c
	}
}

// Detach makes s a copy of its own, as a store that keeps values wants it.
func (s *Segment) Detach() {
	s.Named, s.Rows = list(s.Named), list(s.Rows)
	for i, r := range s.Rows {
		c := *r
		c.IDs = append(make([]string, 0, len(c.IDs)), c.IDs...)
		c.After, c.Tried, c.Bank = detached(c.After), detached(c.Tried), detached(c.Bank)
		c.created, c.sent, c.at = false, false, ""
		s.Rows[i] = &c
	}
}

func detached(v *Values) *Values {
	if v == nil {
		return nil
	}
	c := *v
	return &c
}

// list copies a slice, of which JSON knows only one that has something in it.
func list[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}

// table copies a map likewise.
func table[V any](m map[string]V) map[string]V {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}
