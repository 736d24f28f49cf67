package audit

import "slices"

// maxRanges of one row. Beyond, the two that lie closest are told as one.
const maxRanges = 64

// span is a range of bytes; last is included.
type span struct{ first, last int64 }

// ranges are the parts of a file that were sent: in order, apart from each
// other.
type ranges []span

// add puts a range in, joined with those it touches.
func (r ranges) add(first, last int64) ranges {
	if last < first {
		return r
	}
	at, _ := slices.BinarySearchFunc(r, first, func(s span, first int64) int {
		if s.last+1 < first {
			return -1
		}
		return 1
	})
	end := at
	for ; end < len(r) && r[end].first <= last+1; end++ {
		first, last = min(first, r[end].first), max(last, r[end].last)
	}
	r = slices.Replace(r, at, end, span{first, last})
	if len(r) > maxRanges {
		r = r.closeSmallestGap()
	}
	return r
}

func (r ranges) closeSmallestGap() ranges {
	at := 1
	for i := 2; i < len(r); i++ {
		if r[i].first-r[i-1].last < r[at].first-r[at-1].last {
			at = i
		}
	}
	return slices.Replace(r, at-1, at+1, span{r[at-1].first, r[at].last})
}

// list is what a row says: pairs of first and last byte.
func (r ranges) list() [][2]int64 {
	out := make([][2]int64, len(r))
	for i, s := range r {
		out[i] = [2]int64{s.first, s.last}
	}
	return out
}
