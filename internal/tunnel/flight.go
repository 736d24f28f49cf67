package tunnel

import "time"

// maxMarks bounds what flight remembers; further frames count as sent with the
// last one.
const maxMarks = 1024

// flight is what was sent and is not known to have arrived. TCP hides what is
// on its way, and a proxy has buffers of its own that no socket option reaches;
// so the other side tells what it has got. It has no lock and no clock.
type flight struct {
	sent, arrived uint64
	marks         []mark // in order, of what has not arrived
}

// mark is when the byte before end was sent.
type mark struct {
	end uint64
	at  time.Time
}

// add notes that n bytes were sent.
func (f *flight) add(n int, at time.Time) {
	f.sent += uint64(n)
	if len(f.marks) >= maxMarks {
		f.marks[len(f.marks)-1].end = f.sent
		return
	}
	f.marks = append(f.marks, mark{f.sent, at})
}

// received takes what the other side says it has got. What can't be is
// ignored: less than before, or more than was sent.
func (f *flight) received(total uint64) {
	if total < f.arrived || total > f.sent {
		return
	}
	f.arrived = total
	n := 0
	for n < len(f.marks) && f.marks[n].end <= total {
		n++
	}
	f.marks = append(f.marks[:0], f.marks[n:]...)
}

// age is how long the oldest byte that may not have arrived is on its way.
func (f *flight) age(now time.Time) time.Duration {
	if len(f.marks) == 0 {
		return 0
	}
	return now.Sub(f.marks[0].at)
}
