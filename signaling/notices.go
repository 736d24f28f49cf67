package signaling

import (
	"sync"

	"consilium/sfu"
)

// maxNotices bounds the notices that wait for a session's loop.
const maxNotices = 1024

// noticeQueue takes the notices of the SFU, which come from the loop of the
// call and must not block it, to the loop of the session.
//
// When it is full, everything in it that a snapshot repeats is dropped and
// counted, and the session's loop is told to send a snapshot.
type noticeQueue struct {
	mu       sync.Mutex
	items    []sfu.Notice
	snapshot bool
	dropped  uint64
	wake     chan struct{} // capacity 1: something is in the queue
}

func newNoticeQueue() *noticeQueue {
	return &noticeQueue{wake: make(chan struct{}, 1)}
}

// put never blocks.
func (q *noticeQueue) put(n sfu.Notice) {
	q.mu.Lock()
	if len(q.items) >= maxNotices {
		q.compact()
	}
	q.items = append(q.items, n)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// compact keeps the newest seats, and what a snapshot does not repeat.
func (q *noticeQueue) compact() {
	var kept []sfu.Notice
	var seats sfu.Notice
	for _, n := range q.items {
		switch n.(type) {
		case sfu.NoticeSeats:
			seats = n
		case sfu.NoticeMute, sfu.NoticeEnded:
			kept = append(kept, n)
		}
	}
	if seats != nil {
		kept = append(kept, seats)
	}
	// A flood of mutes alone can fill the queue too: the newest count.
	if over := len(kept) - maxNotices/2; over > 0 {
		kept = kept[over:]
	}
	q.dropped += uint64(len(q.items) - len(kept))
	q.items, q.snapshot = kept, true
}

// take empties the queue. dropped counts since the last call.
func (q *noticeQueue) take() (items []sfu.Notice, snapshot bool, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items, snapshot, dropped = q.items, q.snapshot, q.dropped
	q.items, q.snapshot, q.dropped = nil, false, 0
	return items, snapshot, dropped
}
