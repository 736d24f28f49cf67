package signaling

// This file is pure: no clock, no lock, no socket. A session's loop owns each
// of its types.

// frame is a numbered message to the client, ready for the wire.
type frame struct {
	seq  uint64
	data []byte
}

// replayBuffer keeps the numbered messages that the client has not yet
// acknowledged. It is bounded: the oldest go first, and a client that asks for
// one of those gets a snapshot instead.
type replayBuffer struct {
	maxFrames, maxBytes int

	last    uint64 // Seq of the newest message; 0: none yet
	acked   uint64 // highest Seq the client has
	dropped uint64 // highest Seq thrown away without being acknowledged
	frames  []frame
	bytes   int
}

// next is the Seq that the next call of add must have.
func (b *replayBuffer) next() uint64 { return b.last + 1 }

// add keeps a message under the number next().
func (b *replayBuffer) add(data []byte) {
	b.last++
	b.frames = append(b.frames, frame{b.last, data})
	b.bytes += len(data)
	for len(b.frames) > b.maxFrames || (b.bytes > b.maxBytes && len(b.frames) > 0) {
		b.dropped = b.frames[0].seq
		b.shift()
	}
}

func (b *replayBuffer) shift() {
	b.bytes -= len(b.frames[0].data)
	b.frames[0].data = nil
	b.frames = b.frames[1:]
}

// ack forgets what the client has. It reports false, and does nothing, if the
// client claims to have what was never sent.
func (b *replayBuffer) ack(seq uint64) bool {
	if seq > b.last {
		return false
	}
	b.acked = max(b.acked, seq)
	for len(b.frames) > 0 && b.frames[0].seq <= seq {
		b.shift()
	}
	return true
}

// after returns everything that follows seq, or false if some of it is gone.
func (b *replayBuffer) after(seq uint64) ([]frame, bool) {
	if seq > b.last || seq < b.dropped || seq < b.acked {
		return nil, false
	}
	for i, f := range b.frames {
		if f.seq > seq {
			return b.frames[i:], true
		}
	}
	return nil, true
}

// restart forgets every message, because a snapshot takes their place, and goes
// on counting after seq: the client sees no gap.
func (b *replayBuffer) restart(seq uint64) {
	b.last, b.acked, b.dropped = seq, seq, seq
	b.frames, b.bytes = nil, 0
}

// verdict says what to do with a numbered message of the client.
type verdict uint8

const (
	fresh     verdict = iota // the next one: process it
	duplicate                // seen before: repeat the reply if it was a request
	gap                      // one before it is missing: the client must send that first
)

// inOrder accepts the client's messages in order, each once.
type inOrder struct {
	last uint64 // highest Seq received in order
}

func (o *inOrder) accept(seq uint64) verdict {
	switch {
	case seq == o.last+1:
		o.last = seq
		return fresh
	case seq <= o.last:
		return duplicate
	default:
		return gap
	}
}

// Bounds of the stored replies of one session.
const (
	maxReplies    = 64
	maxReplyBytes = 256 << 10
)

// reply is the answer to a request.
type reply struct {
	kind string
	body []byte
	seq  uint64 // under which it was sent last
}

// replyStore keeps the newest replies by request ID. A request that is still
// being worked on is in it with no reply.
type replyStore struct {
	replies map[string]*reply
	order   []string // IDs, oldest first
	bytes   int
}

// open notes that a request has come. It returns its reply if that is known,
// and whether the request is known at all.
func (s *replyStore) open(id string) (r *reply, known bool) {
	if r, known = s.replies[id]; known {
		return r, true
	}
	if s.replies == nil {
		s.replies = map[string]*reply{}
	}
	s.replies[id] = nil
	s.order = append(s.order, id)
	s.trim()
	return nil, false
}

// after returns the IDs of the replies that were sent under a higher number
// than seq, oldest request first.
func (s *replyStore) after(seq uint64) []string {
	var ids []string
	for _, id := range s.order {
		if r := s.replies[id]; r != nil && r.seq > seq {
			ids = append(ids, id)
		}
	}
	return ids
}

// close stores the reply to a request that was opened.
func (s *replyStore) close(id string, r reply) {
	if _, known := s.replies[id]; !known {
		return // too many requests since: it was trimmed
	}
	s.replies[id] = &r
	s.bytes += len(r.body)
	s.trim()
}

func (s *replyStore) trim() {
	for len(s.order) > maxReplies || (s.bytes > maxReplyBytes && len(s.order) > 1) {
		id := s.order[0]
		if r := s.replies[id]; r != nil {
			s.bytes -= len(r.body)
		}
		delete(s.replies, id)
		s.order = s.order[1:]
	}
}
