package bkper

import (
	"slices"
	"sort"
)

// index orders records by day and, within a day, by their sequence, so that a change or a page costs what it touches
// however long the history is.
type index struct {
	days []int // YYYYMMDD, ascending; 0 holds the records without a date
	at   map[int][]*record
}

func newIndex() *index { return &index{at: map[int][]*record{}} }

func bySeq(r *record, seq int64) int { return int(r.Seq - seq) }

func (x *index) add(r *record) {
	day := r.day()
	list, ok := x.at[day]
	if !ok {
		i, _ := slices.BinarySearch(x.days, day)
		x.days = slices.Insert(x.days, i, day)
	}
	i, _ := slices.BinarySearchFunc(list, r.Seq, bySeq)
	x.at[day] = slices.Insert(list, i, r)
}

func (x *index) remove(r *record) {
	day := r.day()
	list := x.at[day]
	i, ok := slices.BinarySearchFunc(list, r.Seq, bySeq)
	if !ok {
		return
	}
	list = slices.Delete(list, i, i+1)
	if len(list) > 0 {
		x.at[day] = list
		return
	}
	delete(x.at, day)
	if i, ok := slices.BinarySearch(x.days, day); ok {
		x.days = slices.Delete(x.days, i, i+1)
	}
}

// scan yields the records with from <= day < to, newest first, that come after the position; it stops when yield says no.
func (x *index) scan(from, to int, after position, yield func(*record) bool) {
	to = min(to, after.day+1)
	for i := sort.SearchInts(x.days, to) - 1; i >= 0 && x.days[i] >= from; i-- {
		for _, r := range slices.Backward(x.at[x.days[i]]) {
			if after.passed(r) && !yield(r) {
				return
			}
		}
	}
}

// position is a place in the order of a list: newest day first, then newest record first.
type position struct {
	day int
	seq int64
}

const (
	maxDay = 100000000
	maxSeq = 1 << 62
)

var start = position{maxDay, maxSeq}

func (p position) passed(r *record) bool {
	return r.day() < p.day || r.day() == p.day && r.Seq < p.seq
}
