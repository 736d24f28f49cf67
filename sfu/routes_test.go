package sfu

import (
	"testing"

	"github.com/pion/rtp"

	"consilium/internal/media"
)

func TestStreamIsFoundByWhatIsKnownOfIt(t *testing.T) {
	codecs := func(pt uint8, name string) map[uint8]upCodec {
		return map[uint8]upCodec{pt: {Name: name}, pt + 1: {Name: rtxName, APT: pt}}
	}
	withMID := func(ssrc uint32, pt uint8, mid string) *rtp.Header {
		h := &rtp.Header{SSRC: ssrc, PayloadType: pt}
		if mid != "" {
			if err := h.SetExtension(3, []byte(mid)); err != nil {
				t.Fatal(err)
			}
		}
		return h
	}
	lines := map[string]*upLine{
		"a": {MID: "a", SSRC: 10, MIDExt: 3, Codecs: codecs(111, media.Opus)},
		"v": {MID: "v", SSRC: 20, RTXSSRC: 21, MIDExt: 3, Codecs: codecs(96, media.VP8)},
		"s": {MID: "s", MIDExt: 3, Codecs: codecs(96, media.VP8)},
	}
	cases := map[string]struct {
		header *rtp.Header
		mid    string
		repair bool
		why    dropReason
	}{
		"declared":                       {withMID(20, 96, ""), "v", false, dropReasons},
		"declared retransmission":        {withMID(21, 97, ""), "v", true, dropReasons},
		"by mid":                         {withMID(30, 96, "s"), "s", false, dropReasons},
		"retransmission by mid":          {withMID(31, 97, "s"), "s", true, dropReasons},
		"by the only payload type":       {withMID(32, 111, ""), "a", false, dropReasons},
		"payload type of two":            {withMID(33, 96, ""), "", false, dropUnknownSSRC},
		"mid of nobody":                  {withMID(34, 96, "x"), "", false, dropUnknownSSRC},
		"payload type not of the m-line": {withMID(35, 111, "s"), "", false, dropPayloadType},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRouter()
			r.update(&routes{lines: lines})
			s, why := r.find(c.header)
			if why != c.why || why == dropReasons && (s.line.MID != c.mid || s.repair != c.repair) {
				t.Fatalf("got %+v, %v", s, why)
			}
			if why != dropReasons {
				return
			}
			r.update(&routes{lines: lines}) // a negotiation later it says no mid any more
			if s, why := r.find(&rtp.Header{SSRC: c.header.SSRC, PayloadType: c.header.PayloadType}); why != dropReasons || s.line.MID != c.mid {
				t.Fatalf("forgotten after a negotiation: %v", why)
			}
		})
	}
}

func TestLineIsPublishedOnAgain(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.frame(true, false)
	s.track.end(media.EndUnpublished, s.clock.at)
	again := s.up.publish("0", s.track.about)
	s.up.router.update(s.up.routes.Load())
	d.assign(again)
	s.frame(false, false)
	s.frame(true, false)
	if got := w.sequences(); len(got) != 2 || got[1] != got[0]+1 {
		t.Fatalf("sequence numbers %v", got)
	}
	s.track.end(media.EndUnpublished, s.clock.at) // a second end of the first is no end of the second
	if s.up.routes.Load().tracks["0"] != again {
		t.Fatal("the new track was taken off its m-line")
	}
}
