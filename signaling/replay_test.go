package signaling

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"consilium/internal/media"
	"consilium/sfu"
)

func TestReplayBufferKeepsWhatIsNotAcknowledged(t *testing.T) {
	b := replayBuffer{maxFrames: 4, maxBytes: 100}
	for i := range 4 {
		if b.next() != uint64(i+1) {
			t.Fatalf("next is %d", b.next())
		}
		b.add([]byte{byte(i + 1)})
	}
	seqs := func(after uint64) string {
		frames, ok := b.after(after)
		if !ok {
			return "gone"
		}
		var s []string
		for _, f := range frames {
			s = append(s, fmt.Sprint(f.seq))
		}
		return strings.Join(s, " ")
	}
	expect := func(after uint64, want string) {
		t.Helper()
		if got := seqs(after); got != want {
			t.Errorf("after(%d) = %q, want %q", after, got, want)
		}
	}
	expect(0, "1 2 3 4")
	expect(4, "")
	expect(5, "gone")
	if !b.ack(2) || b.ack(5) {
		t.Error("ack takes what was never sent, or not what was")
	}
	expect(2, "3 4")
	expect(1, "gone") // acknowledged before: the client has lost its state
	for range 3 {
		b.add([]byte("x"))
	}
	expect(2, "gone")
	expect(3, "4 5 6 7")
	b.add(make([]byte, 101)) // larger than the whole buffer
	expect(7, "gone")
	expect(8, "")
	b.add([]byte("x"))
	b.restart(6)
	expect(5, "gone")
	expect(6, "")
	if b.next() != 7 || b.bytes != 0 {
		t.Errorf("after restart: next %d, %d bytes", b.next(), b.bytes)
	}
}

func TestReplayBufferStaysWithinItsBounds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := replayBuffer{maxFrames: 20, maxBytes: 1000}
	for range 10000 {
		if r.IntN(3) == 0 {
			b.ack(r.Uint64N(b.next()))
		} else {
			b.add(make([]byte, r.IntN(300)))
		}
		sum := 0
		for i, f := range b.frames {
			sum += len(f.data)
			if f.seq != b.last-uint64(len(b.frames)-1-i) {
				t.Fatalf("frames are not consecutive: %d at %d of %d, last %d", f.seq, i, len(b.frames), b.last)
			}
		}
		if len(b.frames) > 20 || sum > 1000 || sum != b.bytes {
			t.Fatalf("%d frames, %d bytes (counted %d)", len(b.frames), sum, b.bytes)
		}
	}
}

func TestMessagesAreAcceptedInOrderAndOnce(t *testing.T) {
	var o inOrder
	for i, test := range []struct {
		seq  uint64
		want verdict
	}{{2, gap}, {1, fresh}, {1, duplicate}, {3, gap}, {2, fresh}, {3, fresh}, {1, duplicate}, {1 << 63, gap}, {4, fresh}} {
		if got := o.accept(test.seq); got != test.want {
			t.Errorf("step %d: accept(%d) = %d, want %d", i, test.seq, got, test.want)
		}
	}
}

func TestReplyStoreIsBounded(t *testing.T) {
	var s replyStore
	for i := range maxReplies + 10 {
		id := fmt.Sprint(i)
		if _, known := s.open(id); known {
			t.Fatalf("%s is known", id)
		}
		s.close(id, reply{kind: "ok", body: []byte("{}")})
	}
	if len(s.replies) != maxReplies || s.replies["9"] != nil || s.replies["10"] == nil {
		t.Errorf("%d replies kept", len(s.replies))
	}
	for i := range 3 {
		id := fmt.Sprint("big", i)
		s.open(id)
		s.close(id, reply{kind: "answer", body: make([]byte, maxReplyBytes/2+1)})
	}
	if s.bytes > maxReplyBytes {
		t.Errorf("%d bytes kept", s.bytes)
	}
	if r, known := s.open("big2"); !known || r == nil {
		t.Error("the newest reply is gone")
	}
	s.close("never opened", reply{})
	if _, known := s.replies["never opened"]; known {
		t.Error("a reply without request is kept")
	}
}

func TestTooManyNoticesBecomeASnapshot(t *testing.T) {
	q := newNoticeQueue()
	q.put(sfu.NoticeSeats{MissingPersons: 1})
	q.put(sfu.NoticeMute{By: "doc"})
	q.put(sfu.NoticeSeats{MissingPersons: 2})
	for range maxNotices {
		q.put(sfu.NoticeParticipant{})
	}
	q.put(sfu.NoticeEnded{Reason: media.EndCall})
	items, snapshot, dropped := q.take()
	if !snapshot || dropped == 0 || len(items) > maxNotices {
		t.Fatalf("%d notices, snapshot %v, %d dropped", len(items), snapshot, dropped)
	}
	if items[0] != (sfu.Notice)(sfu.NoticeMute{By: "doc"}) {
		t.Errorf("the mute is gone: %+v", items[0])
	}
	if s, ok := items[1].(sfu.NoticeSeats); !ok || s.MissingPersons != 2 {
		t.Errorf("the newest seats are gone: %+v", items[1])
	}
	if _, ok := items[len(items)-1].(sfu.NoticeEnded); !ok {
		t.Error("the end is gone")
	}
	for range 3 * maxNotices { // even a flood of what a snapshot does not repeat
		q.put(sfu.NoticeMute{})
	}
	if items, _, _ := q.take(); len(items) > maxNotices {
		t.Errorf("%d notices kept", len(items))
	}
}
