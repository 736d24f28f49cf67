// Package seq removes the wrap-around from RTP's short counters: 16-bit
// sequence numbers and 32-bit timestamps become int64 values that can be
// compared and subtracted.
//
// The package is a leaf: it imports nothing of ours.
package seq

// Unwrapper16 unwraps 16-bit sequence numbers (RFC 3550, 5.1). The zero value
// is ready. It is not safe for concurrent use.
//
// Each value is taken to be the one nearest to the highest seen so far, so
// reordering of up to 32767 is understood. The first value is placed between
// 65536 and 131071, so that earlier ones that come late are positive too.
type Unwrapper16 struct {
	highest int64
	started bool
}

// first is where counting starts: one full cycle above zero.
const first16 = 1 << 16

// Unwrap returns the long form of v. Its low 16 bits are v.
func (u *Unwrapper16) Unwrap(v uint16) int64 {
	if !u.started {
		u.started = true
		u.highest = first16 + int64(v)
		return u.highest
	}
	long := u.highest + int64(int16(v-uint16(u.highest)))
	u.highest = max(u.highest, long)
	return long
}

// Peek returns what Unwrap would, and changes nothing.
func (u Unwrapper16) Peek(v uint16) int64 { return u.Unwrap(v) }

// Highest returns the greatest value so far and whether there was one.
func (u *Unwrapper16) Highest() (int64, bool) { return u.highest, u.started }

// Restart makes the next value the first of a new stream: it is placed at
// least one full cycle above everything returned so far.
func (u *Unwrapper16) Restart(v uint16) {
	if !u.started {
		return
	}
	next := (u.highest>>16 + 2) << 16
	u.highest = next + int64(v)
}

// Unwrapper32 unwraps 32-bit RTP timestamps. The zero value is ready. It is
// not safe for concurrent use.
//
// Each value is taken to be the one nearest to the last. The first is placed
// between 2^32 and 2^33-1.
type Unwrapper32 struct {
	last    int64
	started bool
}

// Unwrap returns the long form of v. Its low 32 bits are v.
func (u *Unwrapper32) Unwrap(v uint32) int64 {
	if !u.started {
		u.started = true
		u.last = 1<<32 + int64(v)
		return u.last
	}
	u.last += int64(int32(v - uint32(u.last)))
	return u.last
}
