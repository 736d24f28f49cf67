package sfu

import (
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"consilium/internal/event"
	"consilium/internal/media"
)

// quick has short deadlines, for tests on a real network.
func quick(t *testing.T) Config {
	return withMedia(t, Config{Media: MediaConfig{Timeout: 500 * time.Millisecond, StallAfter: 300 * time.Millisecond}})
}

func TestWhoNeverConnectsFailsBeforeHisTracksDo(t *testing.T) {
	h := open(t, quick(t))
	v := h.join(asPatient("p"))
	v.prepare(0, sound, picture)
	began := time.Now()
	_, err := v.Offer(t.Context(), v.offer())
	must(t, err)
	v.ClientLog(event.StageICE, "no way out", event.Failure{Code: event.UDPBlocked}, nil, time.Now())
	v.ClientLog(event.StageICE, "and more", event.Failure{Code: event.TURNAuth}, nil, time.Now())
	timeout := h.events.wait(t, "media.timeout", ofType(event.MediaTimeout))
	if waited := timeout.Time.Sub(began); waited < 475*time.Millisecond || waited > 1500*time.Millisecond {
		t.Errorf("after %v", waited)
	}
	v.Call() // both tracks have been looked at
	var verdicts []event.Type
	for _, e := range h.events.list() {
		if e.Code == "" || e.Type == event.NoteClient {
			continue
		}
		verdicts = append(verdicts, e.Type)
		if e.Code != event.UDPBlocked || e.Stage != event.StageICE || e.Direction != event.Out {
			t.Errorf("%s: %+v", e.Type, e.Failure)
		}
	}
	if len(verdicts) != 3 || verdicts[0] != event.ParticipantFailed {
		t.Errorf("verdicts %v", verdicts)
	}
}

func TestWhoJoinsMutedAndNeverConnectsGetsAVerdict(t *testing.T) {
	h := open(t, quick(t))
	v := h.join(asPatient("p"))
	v.prepare(0, sound)
	o := v.offer()
	o.Tracks = []SentTrack{{MID: "0", Source: media.Microphone, Muted: true}}
	_, err := v.Offer(t.Context(), o)
	must(t, err)
	if e := h.events.wait(t, "media.timeout", ofType(event.MediaTimeout)); e.Direction != event.In || e.Code != event.NoCandidates {
		t.Errorf("%+v", e.Failure)
	}
	h.events.wait(t, "participant.failed", ofType(event.ParticipantFailed))
}

func TestMediaThatComesLateStallsAndComesBackIsTold(t *testing.T) {
	h := open(t, quick(t))
	v := h.join(asPatient("p"))
	v.pc = newClient(t)
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "v", "s")
	must(t, err)
	_, err = v.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	must(t, err)
	v.negotiate(v.offer())
	h.events.wait(t, "ice.connected", ofType(event.ICEConnected))
	late := h.events.wait(t, "media.timeout", ofType(event.MediaTimeout))
	if late.Code != event.NoMediaOut || late.Stage != event.StageFirstRTP {
		t.Errorf("%+v", late.Failure)
	}
	if h.events.count(ofType(event.ParticipantFailed)) != 0 {
		t.Error("who is connected has failed")
	}
	var sequence uint16
	send := func(until func() bool) {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; !until(); n++ {
			if n > 2000 {
				t.Fatal("nothing comes of it")
			}
			header := rtp.Header{Version: 2, SequenceNumber: sequence, Timestamp: uint32(sequence) * 450, Marker: true}
			must(t, track.WriteRTP(&rtp.Packet{Header: header, Payload: vp8Payload(sequence%100 == 0, sequence)}))
			sequence++
			<-tick.C
		}
	}
	resumed := func(n int) func() bool {
		return func() bool { return h.events.count(ofType(event.MediaResumed)) == n }
	}
	send(resumed(1))
	if h.events.count(ofType(event.MediaFlowing)) != 1 {
		t.Error("it does not flow")
	}
	h.events.wait(t, "media.stalled", ofType(event.MediaStalled))
	again := h.events.wait(t, "second timeout", func(e event.Event) bool {
		return e.Type == event.MediaTimeout && e.Stage == event.StageFlowing
	})
	if again.Code != event.NoMediaOut {
		t.Errorf("%+v", again.Failure)
	}
	send(resumed(2))
	must(t, v.Publish(t.Context(), "0", media.Camera, true, true))
	<-time.After(time.Second) // muted: nothing is expected
	if n := h.events.count(ofType(event.MediaStalled)); n != 1 {
		t.Errorf("stalled %d times", n)
	}
	unmuted := time.Now()
	must(t, v.Publish(t.Context(), "0", media.Camera, true, false))
	stall := h.events.wait(t, "a stall after unmuting", func(e event.Event) bool {
		return e.Type == event.MediaStalled && e.Time.After(unmuted)
	})
	if waited := stall.Time.Sub(unmuted); waited < 300*time.Millisecond {
		t.Errorf("stalled %v after unmuting", waited)
	}
}
