package testmedia

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

func TestEveryClipLastsNineSecondsAndRepeatsInStep(t *testing.T) {
	for name, test := range map[string]struct {
		load   func() (*Clip, error)
		frames int
		width  int
		keys   int
	}{
		"camera":       {Camera, 135, 320, 3},
		"large camera": {LargeCamera, 135, 640, 3},
		"flash":        {Flash, 270, 320, 18},
		"beep":         {Beep, 450, 0, 450},
	} {
		t.Run(name, func(t *testing.T) {
			clip, err := test.load()
			if err != nil {
				t.Fatal(err)
			}
			keys := 0
			for _, frame := range clip.Frames {
				if frame.Keyframe {
					keys++
				}
			}
			if clip.Duration != 9*time.Second || len(clip.Frames) != test.frames || clip.Width != test.width || keys != test.keys {
				t.Errorf("got %v, %d frames, width %d, %d keyframes; want 9s, %d, %d, %d",
					clip.Duration, len(clip.Frames), clip.Width, keys, test.frames, test.width, test.keys)
			}
		})
	}
}

func TestBrokenClipsAreRefused(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing":     {},
		"not IVF":     []byte("this is not an IVF file, not even by accident"),
		"header only": append([]byte("DKIF\x00\x00\x20\x00VP80\x40\x01\xb4\x00\x0f\x00\x00\x00\x01\x00\x00\x00"), make([]byte, 8)...),
	} {
		if _, err := readIVF(bytes.NewReader(data)); err == nil {
			t.Errorf("%s: IVF reader took it", name)
		}
		if _, err := readOgg(bytes.NewReader(data)); err == nil {
			t.Errorf("%s: Ogg reader took it", name)
		}
	}
}

// play runs a player for d of fake time and returns what it sent and when.
func play(t *testing.T, cfg Config, d time.Duration, script func(*Player)) (packets []rtp.Packet, at []time.Duration) {
	t.Helper()
	p, err := NewPlayer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	begin := time.Now()
	if script != nil {
		go script(p)
	}
	err = p.Run(ctx, func(packet *rtp.Packet) error {
		packets = append(packets, *packet)
		at = append(at, time.Since(begin))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return packets, at
}

func mustClip(t *testing.T, load func() (*Clip, error)) *Clip {
	t.Helper()
	clip, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return clip
}

func TestPlayerSendsInRealTimeAcrossTheSeam(t *testing.T) {
	clip := mustClip(t, Beep)
	synctest.Test(t, func(t *testing.T) {
		packets, at := play(t, Config{Clip: clip}, 20*time.Second-time.Millisecond, nil)
		if len(packets) != 1000 {
			t.Fatalf("got %d packets in 20 s, want 1000", len(packets))
		}
		for i := 1; i < len(packets); i++ {
			step := packets[i].Timestamp - packets[i-1].Timestamp
			gap := packets[i].SequenceNumber - packets[i-1].SequenceNumber
			if step != 960 || gap != 1 || at[i]-at[i-1] != 20*time.Millisecond {
				t.Fatalf("packet %d: timestamp +%d, sequence +%d, %v later; want +960, +1, 20ms", i, step, gap, at[i]-at[i-1])
			}
		}
	})
}

func TestVideoTimestampsDoNotDrift(t *testing.T) {
	clip := mustClip(t, Flash)
	synctest.Test(t, func(t *testing.T) {
		packets, at := play(t, Config{Clip: clip}, 10*time.Second, nil)
		for i, packet := range packets {
			got := time.Duration(packet.Timestamp-packets[0].Timestamp) * time.Second / ClockVP8
			if diff := (got - at[i]).Abs(); diff > time.Millisecond {
				t.Fatalf("packet %d sent at %v carries time %v", i, at[i], got)
			}
		}
	})
}

func TestPlayerAnswersAKeyframeRequestWithTheNextFrame(t *testing.T) {
	clip := mustClip(t, Camera)
	synctest.Test(t, func(t *testing.T) {
		packets, at := play(t, Config{Clip: clip}, 2*time.Second, func(p *Player) {
			<-time.After(990 * time.Millisecond)
			p.RequestKeyframe()
		})
		var keys []time.Duration
		for i, packet := range packets {
			var vp8 codecs.VP8Packet
			data, err := vp8.Unmarshal(packet.Payload)
			if err != nil {
				t.Fatal(err)
			}
			if vp8.S == 1 && vp8.PID == 0 && data[0]&1 == 0 {
				keys = append(keys, at[i])
			}
		}
		if len(keys) != 2 || keys[0] != 0 || keys[1] != time.Second {
			t.Errorf("keyframes at %v, want at 0s and 1s", keys)
		}
	})
}

func TestPausedPlayerSendsNothingAndComesBackWithAKeyframe(t *testing.T) {
	clip := mustClip(t, Camera)
	synctest.Test(t, func(t *testing.T) {
		packets, at := play(t, Config{Clip: clip, Paused: true}, 2*time.Second, func(p *Player) {
			<-time.After(time.Second - time.Millisecond)
			p.Resume()
		})
		if len(packets) == 0 || at[0] != time.Second {
			t.Fatalf("first packet of %d at %v, want at 1s", len(packets), at)
		}
		if data := packets[0].Payload; data[0]&0x10 == 0 {
			t.Errorf("first packet does not start a frame: % x", data[:4])
		}
	})
}

func TestTwoPlayersWithOneStartAreInStep(t *testing.T) {
	flash, beep := mustClip(t, Flash), mustClip(t, Beep)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().Add(-5 * time.Second)
		video, videoAt := play(t, Config{Clip: flash, Start: start}, time.Second, nil)
		audio, audioAt := play(t, Config{Clip: beep, Start: start.Add(time.Second)}, time.Second, nil)
		if len(video) == 0 || len(audio) == 0 || videoAt[0] > time.Second || audioAt[0] > 20*time.Millisecond {
			t.Fatalf("video from %v, audio from %v; want both at once", videoAt, audioAt)
		}
	})
}

func TestRunReportsAFailedWrite(t *testing.T) {
	p, err := NewPlayer(Config{Clip: mustClip(t, Beep)})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := p.Run(t.Context(), func(*rtp.Packet) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	if _, err := NewPlayer(Config{}); err == nil {
		t.Error("a player without a clip was made")
	}
}
