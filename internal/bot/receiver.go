package bot

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"consilium/internal/media"
)

const (
	// lossAge is when a missing packet counts as lost.
	lossAge = time.Second
	// window is how many sequence numbers are remembered.
	window = 4096
	mtu    = 1600
)

// TrackStats counts what came of one published track. Times are on this
// machine's clock.
type TrackStats struct {
	ID   string // of the track; "" before the server has said who sits there
	MID  string
	Kind media.Kind

	Packets     uint64 // without duplicates
	Duplicates  uint64 // the same sequence number once more
	Retransmits uint64 // came over RTX
	Bytes       uint64 // of payload
	Frames      uint64 // complete ones by their marker; packets of audio
	Keyframes   uint64

	Missing  uint64 // gaps seen in the sequence numbers
	Repaired uint64 // of those, filled within a second
	Lost     uint64 // of those, not filled within a second
	// RepairTimes are the waits from seeing a gap to its filling.
	RepairTimes []time.Duration

	FirstPacket, LastPacket time.Time
	FirstFrame, LastFrame   time.Time
	// LongestGap is the longest time between two frames.
	LongestGap time.Duration
	// CleanStart reports whether the first packet of video began a keyframe.
	CleanStart bool
	// FirstRTP and LastRTP are RTP timestamps.
	FirstRTP, LastRTP uint32
}

type received struct {
	packet *rtp.Packet
	at     time.Time
	rtx    bool
}

// receiver is a receive-only m-line. The sequence numbers belong to it, what
// is counted belongs to the track that sits there at the time.
type receiver struct {
	mid string

	mu      sync.Mutex
	kind    media.Kind
	current string
	tracks  map[string]*TrackStats
	order   []string

	begun   bool
	highest int64
	seen    [window]int64 // sequence number last seen in each place
	missing map[int64]time.Time
}

func newReceiver(mid string) *receiver {
	return &receiver{mid: mid, tracks: map[string]*TrackStats{}, missing: map[int64]time.Time{}}
}

// receiver returns the m-line's receiver, making it at first sight.
func (p *peer) receiver(mid string) *receiver {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.receivers[mid]
	if r == nil {
		r = newReceiver(mid)
		p.receivers[mid] = r
	}
	return r
}

// assign notes whose track an m-line carries from now on.
func (p *peer) assign(mid, track string) {
	if mid == "" {
		return
	}
	r := p.receiver(mid)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = track
}

// receive reads a remote track until the PeerConnection closes.
func (p *peer) receive(remote *webrtc.TrackRemote, rtpReceiver *webrtc.RTPReceiver) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.wg.Add(1)
	p.mu.Unlock()
	defer p.wg.Done()

	r := p.receiver(rtpReceiver.RTPTransceiver().Mid())
	r.mu.Lock()
	r.kind = media.Kind(remote.Kind().String())
	r.mu.Unlock()
	buf := make([]byte, mtu)
	for {
		n, attributes, err := remote.Read(buf)
		if err != nil {
			return
		}
		packet := &rtp.Packet{}
		if err := packet.Unmarshal(buf[:n]); err != nil {
			continue // Pion has parsed it already: not reached
		}
		in := received{packet: packet, at: time.Now(), rtx: attributes.Get(webrtc.AttributeRtxSsrc) != nil}
		track := r.take(in)
		if p.onTrack != nil {
			p.onTrack(track, in)
		}
	}
}

// take counts a packet and returns the track it belongs to.
func (r *receiver) take(in received) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats()
	if in.rtx {
		s.Retransmits++
	}
	if !r.number(s, int64(in.packet.SequenceNumber), in.at) {
		s.Duplicates++
		return r.current
	}
	keyframe := r.kind == media.Video && startsKeyframe(in.packet.Payload)
	if s.Packets == 0 {
		s.FirstPacket, s.FirstRTP, s.CleanStart = in.at, in.packet.Timestamp, keyframe
	}
	s.Packets++
	s.Bytes += uint64(len(in.packet.Payload))
	s.LastPacket, s.LastRTP = in.at, in.packet.Timestamp
	if keyframe {
		s.Keyframes++
	}
	if r.kind == media.Audio || in.packet.Marker {
		if s.Frames == 0 {
			s.FirstFrame = in.at
		} else {
			s.LongestGap = max(s.LongestGap, in.at.Sub(s.LastFrame))
		}
		s.Frames++
		s.LastFrame = in.at
	}
	return r.current
}

func (r *receiver) stats() *TrackStats {
	s := r.tracks[r.current]
	if s == nil {
		s = &TrackStats{ID: r.current, MID: r.mid, Kind: r.kind}
		r.tracks[r.current] = s
		r.order = append(r.order, r.current)
	}
	return s
}

// number follows the sequence numbers and reports whether this one is new.
func (r *receiver) number(s *TrackStats, seq int64, at time.Time) bool {
	if !r.begun {
		r.begun, r.highest = true, seq+1<<16
		r.seen[r.highest%window] = r.highest
		return true
	}
	extended := r.highest + int64(int16(seq-r.highest))
	if r.seen[extended%window] == extended || extended <= r.highest-window {
		return false
	}
	r.seen[extended%window] = extended
	if since, ok := r.missing[extended]; ok {
		delete(r.missing, extended)
		wait := at.Sub(since)
		if wait <= lossAge {
			s.Repaired++
		} else {
			s.Lost++
		}
		s.RepairTimes = append(s.RepairTimes, wait)
	}
	for ; r.highest < extended; r.highest++ {
		if r.highest+1 < extended {
			r.missing[r.highest+1] = at
			s.Missing++
		}
	}
	for n, since := range r.missing {
		if n <= r.highest-window {
			delete(r.missing, n)
			s.Lost++
		} else if at.Sub(since) > 2*lossAge {
			delete(r.missing, n)
			s.Lost++
		}
	}
	return true
}

// startsKeyframe reports whether an RTP payload of VP8 begins a keyframe
// (RFC 7741, section 4.3).
func startsKeyframe(payload []byte) bool {
	if len(payload) < 1 || payload[0]&0x1f != 0x10 { // S set, partition 0
		return false
	}
	offset := 1
	if payload[0]&0x80 != 0 { // X
		if len(payload) < 2 {
			return false
		}
		flags := payload[1]
		offset = 2
		if flags&0x80 != 0 { // I
			if len(payload) <= offset {
				return false
			}
			if payload[offset]&0x80 != 0 { // M: 15 bits
				offset++
			}
			offset++
		}
		if flags&0x40 != 0 { // L
			offset++
		}
		if flags&0x30 != 0 { // T or K
			offset++
		}
	}
	return len(payload) > offset && payload[offset]&1 == 0
}

// lines returns all receive-only m-lines.
func (p *peer) lines() []*receiver {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.receivers))
}

// seated returns the counts of the tracks that sit on the m-lines now: no more
// than there are m-lines, however many came and went. Without RepairTimes.
func (p *peer) seated() []TrackStats {
	var now []TrackStats
	for _, r := range p.lines() {
		r.mu.Lock()
		if s := r.tracks[r.current]; s != nil && s.ID != "" {
			seated := *s
			seated.RepairTimes = nil // goes on being written
			now = append(now, seated)
		}
		r.mu.Unlock()
	}
	return now
}

// tracks returns a copy of all counts, by m-line and in order of appearance.
func (p *peer) tracks() []TrackStats {
	var all []TrackStats
	for _, r := range p.lines() {
		r.mu.Lock()
		for _, id := range r.order {
			s := *r.tracks[id]
			s.RepairTimes = append([]time.Duration(nil), s.RepairTimes...)
			all = append(all, s)
		}
		r.mu.Unlock()
	}
	return all
}
