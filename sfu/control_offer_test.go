package sfu

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"consilium/internal/event"
	"consilium/internal/media"
)

func TestOffersThatCantBeUsedAreRefused(t *testing.T) {
	noPicture := patientGrants
	noPicture.PublishVideo = false
	for name, c := range map[string]struct {
		grants Grants
		mode   Mode
		edit   func(*Offer)
		want   error
	}{
		"not SDP":                {patientGrants, Interactive, func(o *Offer) { o.SDP = "hello" }, ErrNotSDP},
		"empty":                  {patientGrants, Interactive, func(o *Offer) { o.SDP = "" }, ErrNotSDP},
		"no grant":               {noPicture, Interactive, func(*Offer) {}, ErrNoGrant},
		"nothing to subscribe":   {Grants{PublishAudio: true, PublishVideo: true}, Interactive, func(*Offer) {}, ErrNoGrant},
		"publisher that watches": {patientGrants, Publisher, func(*Offer) {}, ErrBadOffer},
		"track without m-line":   {patientGrants, Interactive, func(o *Offer) { o.Tracks = []SentTrack{{MID: "7", Source: media.Camera}} }, ErrBadOffer},
		"track on a seat":        {patientGrants, Interactive, func(o *Offer) { o.Tracks = []SentTrack{{MID: "2", Source: media.Microphone}} }, ErrBadOffer},
		"wrong kind":             {patientGrants, Interactive, func(o *Offer) { o.Tracks = []SentTrack{{MID: "0", Source: media.Camera}} }, ErrBadOffer},
		"unknown source":         {patientGrants, Interactive, func(o *Offer) { o.Tracks = []SentTrack{{MID: "0", Source: "nose"}} }, ErrBadOffer},
		"seat of sent m-lines":   {patientGrants, Interactive, func(o *Offer) { o.Seats = []SeatRequest{{Audio: "0", Video: "1"}} }, ErrBadOffer},
		"no codec": {patientGrants, Interactive, func(o *Offer) {
			o.SDP = strings.ReplaceAll(o.SDP, "VP8", "VP7")
		}, ErrBadOffer},
		"both directions": {patientGrants, Interactive, func(o *Offer) { o.SDP = strings.Replace(o.SDP, "a=sendonly", "a=sendrecv", 1) }, ErrBadOffer},
		"no ICE":          {patientGrants, Interactive, func(o *Offer) { o.SDP = strings.ReplaceAll(o.SDP, "a=ice-", "a=nice-") }, ErrBadOffer},
		"not bundled":     {patientGrants, Interactive, func(o *Offer) { o.SDP = strings.Replace(o.SDP, "BUNDLE 0 ", "BUNDLE ", 1) }, ErrBadOffer},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, withMedia(t, Config{}))
			req := asPatient("p")
			req.Grants, req.Mode = c.grants, c.mode
			v := h.join(req)
			v.prepare(1, sound, picture)
			o := v.offer()
			c.edit(&o)
			_, err := v.Offer(context.Background(), o)
			wantError(t, err, c.want)
			if got := v.Call().Participants[0].Tracks; len(got) != 0 {
				t.Errorf("tracks %+v", got)
			}
		})
	}
}

func TestTwoTracksOfOneSourceAreRefused(t *testing.T) {
	h := open(t, withMedia(t, Config{}))
	v := h.join(asDoctor("d"))
	v.prepare(0, picture, picture)
	o := v.offer()
	o.Tracks = []SentTrack{{MID: "0", Source: media.Camera}, {MID: "1", Source: media.Camera}}
	_, err := v.Offer(context.Background(), o)
	wantError(t, err, ErrBadOffer)
}

// A renegotiation that Pion begins and can't answer leaves everything as it
// was, and the next one gets the seats.
func TestRefusedRenegotiationIsTakenBack(t *testing.T) {
	for name, spoil := range map[string]func(string) string{
		"no ICE":            func(s string) string { return strings.ReplaceAll(s, "a=ice-", "a=nice-") },
		"changed direction": func(s string) string { return strings.Replace(s, "a=sendonly", "a=recvonly", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, withMedia(t, Config{}))
			patient, doctor := h.join(asPatient("p")), h.join(asDoctor("d"))
			patient.show(0)
			doctor.show(0)
			doctor.add(sound, webrtc.RTPTransceiverDirectionRecvonly)
			doctor.add(picture, webrtc.RTPTransceiverDirectionRecvonly)
			good := doctor.offer()
			bad := good
			bad.SDP = spoil(bad.SDP)
			if bad.SDP == good.SDP {
				t.Fatal("the offer is not spoilt")
			}
			_, err := doctor.Offer(context.Background(), bad)
			wantError(t, err, ErrBadOffer)
			doctor.negotiate(good)
			if len(doctor.seatsNow()) != 1 || len(doctor.Seats().Seats) != 1 {
				t.Errorf("seats %+v", doctor.Seats())
			}
			if n := len(doctor.Call().Participants); n != 2 {
				t.Errorf("%d participants", n)
			}
		})
	}
}

func TestOneOfferIsInFlight(t *testing.T) {
	rec := &fakeRecorder{gate: make(chan error)}
	h := open(t, withMedia(t, Config{Recorder: rec, Calls: CallsConfig{ArmTimeout: time.Minute}}))
	v := h.join(asDoctor("d"))
	v.prepare(1, sound, picture)
	o := v.offer()
	v.negotiating.Lock() // as an offer in flight does
	_, err := v.Offer(context.Background(), o)
	wantError(t, err, ErrConflict)
	v.negotiating.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = v.Offer(ctx, o) // the client goes away meanwhile
	wantError(t, err, context.DeadlineExceeded)
	rec.gate <- nil
	_, err = v.Offer(context.Background(), o)
	must(t, err)
	if len(v.Call().Participants[0].Tracks) != 2 {
		t.Errorf("participants %+v", v.Call().Participants)
	}
}

func TestCandidatesAreNotedOnceAndNeverUsed(t *testing.T) {
	h := open(t, withMedia(t, Config{}))
	v := h.join(asDoctor("d"))
	const candidate = "candidate:1 1 udp 2130706431 0f3c.local 9 typ host"
	for range 3 {
		v.Candidate(candidate, "0")
	}
	v.Call()
	noted := h.events.count(ofType(event.NoteCandidate))
	e := h.events.wait(t, "candidate", ofType(event.NoteCandidate))
	if noted != 1 || !strings.Contains(e.Data["reason"].(string), ".local") {
		t.Errorf("%d noted: %v", noted, e.Data)
	}
}
