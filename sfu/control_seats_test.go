package sfu

import (
	"context"
	"fmt"
	"testing"

	"github.com/pion/webrtc/v4"

	"consilium/internal/media"
)

// seats waits until the visitor was told of seats that match.
func (v *visitor) seats(what string, match func(NoticeSeats) bool) NoticeSeats {
	v.t.Helper()
	return v.told.wait(v.t, what, func(n Notice) bool {
		s, ok := n.(NoticeSeats)
		return ok && match(s)
	}).(NoticeSeats)
}

func TestReloadKeepsTheSeat(t *testing.T) {
	h := open(t, withMedia(t, Config{}))
	doctor, patient := h.join(asDoctor("d")), h.join(asPatient("p"))
	doctor.show(2)
	patient.show(1)
	before := doctor.seatsNow()["p"]
	if before.ID == "" || before.AudioTrack == "" || before.VideoTrack == "" {
		t.Fatalf("seat %+v", before)
	}
	again := asPatient("p")
	again.Rejoin = patient.ID()
	reloaded := h.join(again)
	empty := doctor.seatsNow()["p"]
	if empty.ID != before.ID || empty.Session != reloaded.ID() || empty.AudioTrack != "" || empty.VideoTrack != "" {
		t.Errorf("while reloading: %+v, before %+v", empty, before)
	}
	reloaded.show(1)
	after := doctor.seatsNow()
	if len(after) != 1 || after["p"].ID != before.ID || after["p"].VideoTrack == "" || after["p"].VideoTrack == before.VideoTrack {
		t.Errorf("after: %+v, before %+v", after, before)
	}
}

func TestNewcomerTakesTheSeatOfWhoLeft(t *testing.T) {
	h := open(t, withMedia(t, Config{}))
	doctor, first := h.join(asDoctor("d")), h.join(asPatient("p"))
	doctor.show(1)
	first.show(0)
	seat := doctor.seatsNow()["p"]
	second := h.join(asPatient("q"))
	second.show(0)
	doctor.seats("missing seat", func(n NoticeSeats) bool { return n.MissingPersons == 1 })
	first.Leave(media.EndLeft)
	<-first.Done()
	now := doctor.Seats()
	got := doctor.seatsNow()["q"]
	if now.MissingPersons != 0 || got.ID != seat.ID || got.VideoTrack == seat.VideoTrack || got.VideoTrack == "" {
		t.Errorf("seats %+v", now)
	}
}

func TestMoreSeatsAreNegotiatedWhenMissing(t *testing.T) {
	h := open(t, withMedia(t, Config{}))
	doctor := h.join(asDoctor("d"))
	doctor.show(1)
	for i := range 3 {
		h.join(asPatient(fmt.Sprint("p", i))).show(0)
	}
	missing := doctor.seats("two missing", func(n NoticeSeats) bool { return n.MissingPersons == 2 })
	for range missing.MissingPersons {
		doctor.add(sound, webrtc.RTPTransceiverDirectionRecvonly)
		doctor.add(picture, webrtc.RTPTransceiverDirectionRecvonly)
	}
	doctor.negotiate(doctor.offer())
	if seats := doctor.seatsNow(); len(seats) != 3 || doctor.Seats().MissingPersons != 0 {
		t.Errorf("seats %+v", doctor.Seats())
	}
	mids := map[string]bool{}
	for _, s := range doctor.Seats().Seats {
		mids[s.Audio], mids[s.Video] = true, true
	}
	if len(mids) != 6 {
		t.Errorf("m-lines %v", mids)
	}
}

func TestScreenIsSharedUnsharedAndSharedAgain(t *testing.T) {
	h := open(t, withMedia(t, Config{}))
	doctor, patient := h.join(asDoctor("d")), h.join(asPatient("p"))
	patient.prepare(1)
	patient.add(picture, webrtc.RTPTransceiverDirectionRecvonly) // for a screen
	patient.negotiate(patient.offer())
	doctor.prepare(0, sound, picture, picture)
	o := doctor.offer()
	o.Tracks = []SentTrack{{MID: "0", Source: media.Microphone}, {MID: "1", Source: media.Camera}}
	doctor.negotiate(o)
	screens := func() (n int) {
		for _, s := range patient.Seats().Seats {
			if s.Audio == "" && s.VideoTrack != "" {
				n++
			}
		}
		return n
	}
	ctx := context.Background()
	if screens() != 0 {
		t.Error("a screen before it is shared")
	}
	var track string
	for range 2 {
		must(t, doctor.Publish(ctx, "2", media.Screen, true, false))
		if screens() != 1 {
			t.Fatalf("seats %+v", patient.Seats())
		}
		for _, s := range patient.Seats().Seats {
			if s.Audio == "" && s.VideoTrack == track {
				t.Error("the old track again")
			} else if s.Audio == "" {
				track = s.VideoTrack
			}
		}
		must(t, doctor.Publish(ctx, "2", media.Screen, false, false))
		if screens() != 0 {
			t.Errorf("seats %+v", patient.Seats())
		}
	}
	// More seats are needed: a renegotiation that names no tracks must not
	// bring the screen back.
	doctor.add(sound, webrtc.RTPTransceiverDirectionRecvonly)
	doctor.negotiate(doctor.offer())
	if screens() != 0 {
		t.Error("the screen is back")
	}
	wantError(t, doctor.Publish(ctx, "2", media.Camera, true, false), ErrConflict)
	wantError(t, doctor.Publish(ctx, "9", media.Screen, true, false), ErrNotFound)
	wantError(t, doctor.Publish(ctx, "0", media.Screen, true, false), ErrBadOffer)
}

// watched is what a player's line of a kind carries, in the order of m-lines.
func (v *visitor) watched(kind media.Kind) (sources []media.Source) {
	must(v.t, v.in(context.Background(), func() error {
		for _, s := range v.Session.seats {
			for _, sl := range []*seatLine{s.audio, s.video} {
				switch {
				case sl == nil || sl.kind != kind:
				case sl.track == nil:
					sources = append(sources, "")
				default:
					sources = append(sources, sl.track.about.Source)
				}
			}
		}
		return nil
	}))
	return sources
}

func TestPlayerFillsWhenThePublisherComes(t *testing.T) {
	for name, c := range map[string]struct {
		sources []media.Source
		want    []media.Source
	}{
		"as published": {nil, []media.Source{media.Camera, media.Screen}},
		"screen only":  {[]media.Source{media.Screen}, []media.Source{media.Screen, media.Screen}},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, withMedia(t, Config{}))
			player := h.join(JoinRequest{Mode: Player, Target: "d", Sources: c.sources,
				Person: Person{Room: "room", Identity: "w", Grants: Grants{Subscribe: true}}})
			player.prepare(1)
			player.add(picture, webrtc.RTPTransceiverDirectionRecvonly)
			player.negotiate(player.offer())
			if got := player.watched(media.Video); len(got) != 2 || got[0] != "" {
				t.Fatalf("before: %q", got)
			}
			doctor := h.join(asDoctor("d"))
			doctor.prepare(0, sound, picture, picture)
			doctor.negotiate(doctor.offer())
			if got := player.watched(media.Video); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("picture %q, want %q", got, c.want)
			}
			if got := player.watched(media.Audio); got[0] != media.Microphone {
				t.Errorf("sound %q", got)
			}
			if len(doctor.Call().Participants) != 1 {
				t.Error("a player is a participant")
			}
			doctor.Leave(media.EndLeft)
			<-doctor.Done()
			if got := player.watched(media.Video); got[0] != "" {
				t.Errorf("after: %q", got)
			}
		})
	}
}

func TestMutedByOthersUntilUnmutedByHimself(t *testing.T) {
	h := open(t, withMedia(t, Config{}))
	doctor, patient := h.join(asDoctor("d")), h.join(asPatient("p"))
	patient.show(0)
	ctx := context.Background()
	wantError(t, doctor.Mute(ctx, "p", media.Screen), ErrNotFound)
	wantError(t, doctor.Mute(ctx, "p", "nose"), ErrBadOffer)
	wantError(t, doctor.Mute(ctx, "q", media.Camera), ErrNotFound)
	must(t, doctor.Mute(ctx, "p", media.Microphone))
	n := patient.told.wait(t, "mute", func(n Notice) bool { _, ok := n.(NoticeMute); return ok }).(NoticeMute)
	if n.Source != media.Microphone || n.By != "d" {
		t.Errorf("notice %+v", n)
	}
	state := func() (muted, blocked bool) {
		must(t, patient.in(ctx, func() error {
			track := patient.source(media.Microphone)
			track.up.mu.Lock()
			defer track.up.mu.Unlock()
			muted, blocked = track.muted, track.up.blocked
			return nil
		}))
		return muted, blocked
	}
	must(t, patient.Publish(ctx, "0", media.Microphone, true, true)) // he obeys
	if muted, blocked := state(); !muted || !blocked {
		t.Errorf("muted %v, blocked %v", muted, blocked)
	}
	must(t, patient.Publish(ctx, "0", media.Microphone, true, false))
	if muted, blocked := state(); muted || blocked {
		t.Errorf("muted %v, blocked %v after he unmuted", muted, blocked)
	}
}
