package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pion/webrtc/v4"

	"consilium/internal/media"
	"consilium/signaling"
)

// addSender adds the m-line of a source to the next offer.
func (b *Bot) addSender(source media.Source) error {
	clip, err := b.clip(source)
	if err != nil {
		return err
	}
	return b.peer.addSender(source, clip, b.cfg)
}

// negotiate makes an offer, or remembers to make one when the offer in flight
// has been answered. Only the loop calls it.
func (b *Bot) negotiate() error {
	if b.inFlight {
		b.again = true
		return nil
	}
	offer, err := b.peer.offer(b.restartICE)
	if err != nil {
		return err
	}
	b.inFlight, b.restartICE = true, false
	return b.link.request("offer", offer, func(e signaling.Envelope) {
		b.inFlight = false
		if err := b.answer(e); err != nil {
			b.failed = err
			return
		}
		if b.again {
			b.again = false
			b.failed = b.negotiate()
			return
		}
		b.failed = b.addMissing()
	})
}

// addMissing adds the seats that the server lacks. While an offer is in flight
// the server may not have seen what that adds; its answer comes after the
// count that has.
func (b *Bot) addMissing() error {
	b.mu.Lock()
	persons, screens := b.seats.MissingPersons, b.seats.MissingScreens
	b.mu.Unlock()
	if b.inFlight || persons+screens == 0 {
		return nil
	}
	if err := b.peer.addSeats(persons, screens); err != nil {
		return err
	}
	return b.negotiate()
}

func (b *Bot) answer(e signaling.Envelope) error {
	if err := replyError("offer", e); err != nil {
		return err
	}
	var answer signaling.AnswerBody
	if err := json.Unmarshal(e.Body, &answer); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	if err := b.peer.answer(answer.SDP); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.answered.IsZero() {
		b.answered = time.Now()
	}
	return nil
}

// onState is called by Pion when the connection changes.
func (b *Bot) onState(state webrtc.PeerConnectionState) {
	if state != webrtc.PeerConnectionStateConnected {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.connected.IsZero() {
		b.connected = time.Now()
	}
}

// report tells the server what was decoded: what arrived, in our case. Like a
// page it tells of who sits there now: the server takes no endless list.
func (b *Bot) report() signaling.Report {
	report := signaling.Report{Decoded: map[string]signaling.Decoded{}}
	for _, track := range b.peer.seated() {
		decoded := signaling.Decoded{Lost: int64(track.Lost)}
		switch {
		case b.cfg.Idle:
		case track.Kind == media.Video:
			decoded.Frames = track.Frames
		default:
			decoded.Samples = track.Frames * 960 // 20 ms at 48 kHz
		}
		report.Decoded[track.ID] = decoded
	}
	return report
}

// RestartICE looks for a way to the server anew, as a client does whose
// network has changed.
func (b *Bot) RestartICE(ctx context.Context) error {
	return b.do(ctx, func() error {
		if b.peer == nil {
			return errors.New("restart ICE: no connection yet")
		}
		b.restartICE = true
		return b.negotiate()
	})
}

// trickle reports a candidate of ours to the server, which writes it down.
func (l *loop) trickle(c *webrtc.ICECandidate) {
	if c == nil {
		return // the last one was before
	}
	candidate := c.ToJSON()
	body := signaling.Candidate{Candidate: candidate.Candidate}
	if candidate.SDPMid != nil {
		body.MID = *candidate.SDPMid
	}
	// It fails only when the bot ends.
	_ = l.do(l.ctx, func() error { return l.link.send("candidate", "", body) })
}
