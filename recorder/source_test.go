package recorder

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// sent is a packet and when the server gets it, since the source began; or,
// instead of a packet, whatever else a sink is told.
type sent struct {
	at     time.Duration
	packet *media.Packet
	tell   func(media.Sink)
}

// source makes the packets of a track out of a clip.
type source struct {
	clip    *testmedia.Clip
	seq     int64
	ssrc    uint32
	rtp     uint32        // RTP timestamp at the source's begin
	stopped time.Duration // how long the RTP clock stood still so far
	payload rtp.Payloader
	frames  int
}

func newSource(t testing.TB, load func() (*testmedia.Clip, error)) *source {
	t.Helper()
	clip, err := load()
	if err != nil {
		t.Fatal(err)
	}
	s := &source{clip: clip, seq: 1<<16 + 1000, rtp: 12345, payload: &codecs.OpusPayloader{}}
	if clip.MimeType != testmedia.MimeOpus {
		s.payload = &codecs.VP8Payloader{EnablePictureID: true}
	}
	return s
}

// between returns the packets of the frames from one instant to another.
// Video begins with the first keyframe.
func (s *source) between(from, to time.Duration) []sent {
	var out []sent
	begun := false
	for round := from / s.clip.Duration; round*s.clip.Duration < to; round++ {
		for _, f := range s.clip.Frames {
			at := round*s.clip.Duration + f.At
			if at < from || at >= to || !begun && !f.Keyframe {
				continue
			}
			begun = true
			out = append(out, s.frame(f, at)...)
		}
	}
	return out
}

func (s *source) frame(f testmedia.Frame, at time.Duration) []sent {
	s.frames++
	ticks := uint32(int64(at-s.stopped) * int64(s.clip.ClockRate) / int64(time.Second))
	payloads := s.payload.Payload(1200, f.Data)
	var out []sent
	for i, payload := range payloads {
		p := media.NewPacket(nil)
		p.Header = rtp.Header{
			Version: 2, SSRC: s.ssrc, SequenceNumber: uint16(s.seq), Timestamp: s.rtp + ticks,
			Marker: i == len(payloads)-1,
		}
		p.Payload, p.Sequence, p.Keyframe = payload, s.seq, f.Keyframe && i == 0
		out = append(out, sent{at: at, packet: p})
		s.seq++
	}
	return out
}

// again returns a copy of a packet, as if it had been received once more.
func again(p *media.Packet) *media.Packet {
	c := media.NewPacket(nil)
	c.Header, c.Payload, c.Sequence, c.Keyframe = p.Header, p.Payload, p.Sequence, p.Keyframe
	return c
}

// padded puts four padding-only packets behind every ninth frame and, where
// none is lost, one into each frame of several packets. The first lost ones of
// each four do not arrive.
func padded(packets []sent, lost int) []sent {
	var out []sent
	shift, frames := int64(0), 0
	pad := func(after sent, n int) {
		for i := range n {
			shift++
			if p := media.NewPacket(nil); i >= lost {
				p.Header = rtp.Header{Version: 2, Timestamp: after.packet.Header.Timestamp}
				p.Sequence = after.packet.Sequence + int64(i) + 1
				out = append(out, sent{at: after.at, packet: p})
			}
		}
	}
	for i, p := range packets {
		p.packet.Sequence += shift
		out = append(out, p)
		switch {
		case !p.packet.Header.Marker && lost == 0:
			pad(p, 1)
		case p.packet.Header.Marker:
			if frames++; frames%9 == 0 && i < len(packets)-1 {
				pad(p, 4)
			}
		}
	}
	return out
}

// inOrder sorts by arrival.
func inOrder(packets ...[]sent) []sent {
	all := slices.Concat(packets...)
	slices.SortStableFunc(all, func(a, b sent) int { return int(a.at - b.at) })
	return all
}

// play gives packets to a sink at their time. It must run in a synctest bubble.
func play(sink media.Sink, packets []sent, begin time.Time) {
	for _, s := range packets {
		<-time.After(time.Until(begin.Add(s.at)))
		if s.tell != nil {
			s.tell(sink)
			continue
		}
		s.packet.Arrival = time.Now()
		sink.WritePacket(s.packet)
	}
}

func micTrack(participant string) media.Track {
	return media.Track{
		ID: "t-" + participant + "-mic", Call: testCall, Participant: participant, Role: "patient", Session: "s-" + participant,
		Kind: media.Audio, Source: media.Microphone, Codec: media.Opus, ClockRate: 48000, Channels: 2,
	}
}

func camTrack(participant string) media.Track {
	return media.Track{
		ID: "t-" + participant + "-cam", Call: testCall, Participant: participant, Role: "patient", Session: "s-" + participant,
		Kind: media.Video, Source: media.Camera, Codec: media.VP8, ClockRate: 90000,
	}
}
