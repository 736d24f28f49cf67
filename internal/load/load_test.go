package load

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"consilium/internal/bot"
	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/signaling"
)

func valid() Config {
	return Config{Rooms: 2, Participants: 2, Duration: time.Second, JoinRate: 10, Video: 600, Audio: 32}
}

func TestALoadIsBounded(t *testing.T) {
	if err := valid().Check(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		say    string
	}{
		"no rooms":         {func(c *Config) { c.Rooms = 0 }, "at least one"},
		"too many people":  {func(c *Config) { c.Rooms = 300 }, "at most 500"},
		"a great product":  {func(c *Config) { c.Rooms, c.Participants = 1<<40, 1<<40 }, "at most 500"},
		"for ever":         {func(c *Config) { c.Duration = 2 * time.Hour }, "1h"},
		"for no time":      {func(c *Config) { c.Duration = 0 }, "1s"},
		"never joins":      {func(c *Config) { c.JoinRate = 0 }, "joins a second"},
		"negative video":   {func(c *Config) { c.Video = -1 }, "video"},
		"hardly any video": {func(c *Config) { c.Video = 10 }, "at least 50"},
		"too much audio":   {func(c *Config) { c.Audio = 511 }, "510"},
		"nothing to send":  {func(c *Config) { c.Video, c.Audio = 0, 0 }, "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := valid()
			c.change(&cfg)
			if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("got %v, want %q", err, c.say)
			}
		})
	}
}

func TestClipsHaveTheBitRateThatWasAskedFor(t *testing.T) {
	for _, want := range []struct{ video, audio int }{{600, 32}, {50, 6}, {10000, 510}, {0, 64}} {
		for source, clip := range clips(Config{Video: want.video, Audio: want.audio}) {
			bytes := 0
			for _, frame := range clip.Frames {
				bytes += len(frame.Data)
			}
			got := float64(bytes) * 8 / clip.Duration.Seconds() / 1000
			asked := float64(map[media.Source]int{media.Camera: want.video, media.Microphone: want.audio}[source])
			if got < asked*.9 || got > asked*1.1 {
				t.Errorf("%s: %.0f kbit/s, want %.0f", source, got, asked)
			}
			if !clip.Frames[0].Keyframe || source == media.Camera && (clip.Frames[0].Data[0]&1 != 0 || clip.Frames[1].Data[0]&1 == 0) {
				t.Errorf("%s: the frames are not what they say", source)
			}
		}
	}
}

func TestDelaysAreMeasuredBetweenBeginAndEnd(t *testing.T) {
	m := newMeter()
	payload := make([]byte, 100)
	m.stamp(payload)
	m.received(payload, time.Now()) // too early to count
	m.begin()
	sent := time.Now()
	m.stamp(payload)
	stamped := time.Duration(binary.BigEndian.Uint64(payload[len(payload)-stampBytes:]))
	for i := range 100 {
		m.received(payload, m.epoch.Add(stamped+time.Duration(i)*time.Millisecond))
	}
	m.received(payload, m.epoch.Add(stamped+5*time.Second)) // beyond the scale
	m.received(payload[:4], time.Now())                     // no room for a time
	m.received(payload, m.epoch.Add(-time.Hour))            // nor a credible one
	got := m.end()
	if got.sent != 1 || got.received != 103 || got.timed < 101 {
		t.Errorf("%d sent, %d received, %d timed", got.sent, got.received, got.timed)
	}
	if p := got.quantile(.5); p < 49*time.Millisecond || p > 52*time.Millisecond {
		t.Errorf("p50 is %v", p)
	}
	if p := got.quantile(.999); p != 5*time.Second {
		t.Errorf("p99.9 is %v, want the longest", p)
	}
	if stamped < sent.Sub(m.epoch) {
		t.Error("the stamp is older than the packet")
	}
	if (delivery{}).quantile(.5) != 0 {
		t.Error("nothing took time")
	}
}

func TestWhoHasNoMediaHasACode(t *testing.T) {
	busy := &bot.Error{ErrorBody: signaling.ErrorBody{Code: "SERVER_BUSY"}}
	joined := signaling.Welcome{Session: "s"}
	now := time.Now()
	for name, c := range map[string]struct {
		snapshot bot.Snapshot
		err      error
		want     event.Code
	}{
		"refused":       {bot.Snapshot{}, busy, event.ServerBusy},
		"no socket":     {bot.Snapshot{}, nil, event.SignalLost},
		"no way":        {bot.Snapshot{Welcome: joined}, nil, event.NoRoute},
		"thrown out":    {bot.Snapshot{Welcome: joined, Connected: now, Ended: &signaling.Ended{}}, nil, event.SignalLost},
		"nothing comes": {bot.Snapshot{Welcome: joined, Connected: now}, nil, event.NoMediaIn},
		"well":          {bot.Snapshot{Welcome: joined, Connected: now, Received: []bot.TrackStats{{}}}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (&run{cfg: valid()}).outcome(c.snapshot, c.err); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
