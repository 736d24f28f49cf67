package testmedia

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// mtu is the largest RTP packet made: what browsers send.
const mtu = 1200

// Player replays a clip as RTP until it is stopped, over and over. Its methods
// may be called from any goroutine; Run once only.
type Player struct {
	clip       *Clip
	start      time.Time
	jump       bool
	packetizer rtp.Packetizer
	base       uint32 // RTP timestamp of start

	paused   atomic.Bool
	keyframe atomic.Bool
	packets  atomic.Uint64
	frames   atomic.Uint64
	skipped  atomic.Uint64
}

// Config of a Player.
type Config struct {
	Clip *Clip
	// Start is the instant of the clip's first frame. Players with the same
	// Start are in step. Zero means now.
	Start time.Time
	// Paused players send nothing until Resume is called.
	Paused bool
	// KeepStep ignores requests for a keyframe. Otherwise the player jumps to
	// a keyframe of the clip at once, as an encoder would make one.
	KeepStep bool
}

// NewPlayer returns a player that Run starts.
func NewPlayer(cfg Config) (*Player, error) {
	if cfg.Clip == nil {
		return nil, errors.New("player needs a clip")
	}
	var payloader rtp.Payloader = &codecs.VP8Payloader{EnablePictureID: true}
	if cfg.Clip.MimeType == MimeOpus {
		payloader = &codecs.OpusPayloader{}
	}
	p := &Player{clip: cfg.Clip, start: cfg.Start, jump: !cfg.KeepStep, base: rand.Uint32()}
	p.paused.Store(cfg.Paused)
	p.keyframe.Store(true) // an encoder begins with one, wherever on the clock it starts
	// Payload type and SSRC are set where the packets are sent; the packetizer's
	// own timestamps are replaced, because pauses must show in them.
	p.packetizer = rtp.NewPacketizer(mtu, 0, 0, payloader, rtp.NewRandomSequencer(), cfg.Clip.ClockRate)
	return p, nil
}

// Pause stops sending; time goes on.
func (p *Player) Pause() { p.paused.Store(true) }

// Resume goes on sending: audio at once, video with the clip's next keyframe.
func (p *Player) Resume() {
	p.keyframe.Store(true)
	p.paused.Store(false)
}

// RequestKeyframe makes the next frame a keyframe, unless KeepStep is set.
func (p *Player) RequestKeyframe() { p.keyframe.Store(true) }

// Sent returns how many RTP packets and frames were sent so far.
func (p *Player) Sent() (packets, frames uint64) { return p.packets.Load(), p.frames.Load() }

// Skipped counts frames that were due while the machine was too busy.
func (p *Player) Skipped() uint64 { return p.skipped.Load() }

// Run sends until ctx ends, and then returns nil, or until write fails.
func (p *Player) Run(ctx context.Context, write func(*rtp.Packet) error) error {
	if p.start.IsZero() {
		p.start = time.Now()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	pos := cursor{clip: p.clip}
	// A player that starts late joins in at its place on the common clock.
	for pos.at() < time.Since(p.start)-time.Second {
		pos.next()
	}
	waitKey := true
	for {
		timer.Reset(time.Until(p.start.Add(pos.at())))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		frame := pos.frame()
		late := time.Since(p.start.Add(pos.at()))
		at := pos.at()
		pos.next()
		switch {
		case p.paused.Load():
			waitKey = true
			continue
		case late > time.Second:
			p.skipped.Add(1)
			waitKey = true
			continue
		}
		if p.keyframe.Swap(false) && p.jump && !frame.Keyframe {
			frame = pos.jump()
		}
		if waitKey && !frame.Keyframe {
			continue
		}
		waitKey = false
		if err := p.send(frame, at, write); err != nil {
			return fmt.Errorf("send frame: %w", err)
		}
	}
}

func (p *Player) send(frame Frame, at time.Duration, write func(*rtp.Packet) error) error {
	ticks := int64(math.Round(at.Seconds() * float64(p.clip.ClockRate)))
	for _, packet := range p.packetizer.Packetize(frame.Data, 0) {
		packet.Timestamp = p.base + uint32(ticks)
		if err := write(packet); err != nil {
			return err
		}
		p.packets.Add(1)
	}
	p.frames.Add(1)
	return nil
}

// cursor walks through a clip again and again. index is the frame that is
// shown, slot counts frame times since the start: a jump to a keyframe moves
// the one and not the other.
type cursor struct {
	clip  *Clip
	slot  int
	index int
}

// at is when the current frame is due, since the player's start.
func (c *cursor) at() time.Duration {
	n := len(c.clip.Frames)
	return time.Duration(c.slot/n)*c.clip.Duration + c.clip.Frames[c.slot%n].At
}

func (c *cursor) frame() Frame { return c.clip.Frames[c.index] }

func (c *cursor) next() {
	c.slot++
	c.index = (c.index + 1) % len(c.clip.Frames)
}

// jump returns the clip's next keyframe, to be sent in place of the frame that
// was due, and goes on behind it.
func (c *cursor) jump() Frame {
	for !c.clip.Frames[c.index].Keyframe {
		c.index = (c.index + 1) % len(c.clip.Frames)
	}
	frame := c.clip.Frames[c.index]
	c.index = (c.index + 1) % len(c.clip.Frames)
	return frame
}
