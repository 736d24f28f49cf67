package recorder

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/pion/rtp"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// spoolOf writes blocks to a spool in memory.
func spoolOf(t testing.TB, f format, blocks []block) []byte {
	t.Helper()
	var buf memoryFile
	s, err := newSpool(&buf, spoolHeader{
		Version: spoolVersion, Call: testCall, Format: f,
		Segment: Segment{File: "p1-mic-1.webm", Participant: "anna", Source: media.Microphone, Codec: f.Codec, State: Live},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		if err := s.write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

type memoryFile struct{ bytes.Buffer }

func (*memoryFile) Close() error { return nil }
func (*memoryFile) Sync() error  { return nil }

func silentBlocks(n int) []block {
	blocks := make([]block, n)
	for i := range blocks {
		blocks[i] = block{ms: int64(i) * 20, keyframe: true, data: opusSilence(960)}
	}
	return blocks
}

func FuzzSpoolReader(f *testing.F) {
	good := spoolOf(f, format{Codec: media.Opus, TrackUID: 7}, silentBlocks(100))
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(append(bytes.Clone(good[:700]), good[900:]...))
	f.Add([]byte{0x1F, 0x43, 0xB6, 0x75, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := newSalvage(bytes.NewReader(data), nil)
		if err != nil {
			t.Fatal(err)
		}
		last := int64(0)
		for {
			b, err := s.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if b.ms < last {
				t.Fatalf("block at %d ms after %d ms", b.ms, last)
			}
			last = b.ms
		}
	})
}

func FuzzManifest(f *testing.F) {
	m := Manifest{Version: 1, Call: "c", Segments: []Segment{{File: "p1-mic-1.webm", Clock: &Clock{ArrivalMS: 1}}}}
	data, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"segments":[{"file":"../../etc/passwd"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeManifest(data)
		if err != nil {
			return
		}
		for _, s := range m.Segments {
			if s.File != "" && !validFileName(s.File) {
				t.Fatalf("file name %q", s.File)
			}
		}
		place(m.Segments)
		m.name(1, media.Microphone, ".webm", nil)
		if _, err := m.encode(); err != nil {
			var unsupported *json.UnsupportedValueError
			if !errors.As(err, &unsupported) {
				t.Fatal(err)
			}
		}
	})
}

// FuzzAssembler reads packets from the input: a step of sequence, a step of
// time and a payload each.
func FuzzAssembler(f *testing.F) {
	cam := newSource(f, testmedia.Camera).between(0, second)
	var seed []byte
	for _, p := range cam {
		n := min(len(p.packet.Payload), 200)
		seed = append(seed, 1, 67, byte(n))
		seed = append(seed, p.packet.Payload[:n]...)
	}
	for kind := range 5 {
		f.Add(byte(kind), seed)
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		codec := []string{media.VP8, media.VP9, media.AV1, media.H264, media.Opus}[kind%5]
		track := media.Track{Kind: media.Video, Codec: codec, ClockRate: 90000}
		if codec == media.Opus {
			track.Kind, track.ClockRate = media.Audio, 48000
		}
		a, err := newAssembler(track)
		if err != nil {
			t.Fatal(err)
		}
		tl := timeline{rate: int64(track.ClockRate)}
		live, sequence, stamp := 0, int64(1<<16), uint32(0)
		now := time.Unix(0, 0)
		keyed := codec == media.Opus
		take := func(f frame, ok bool) bool {
			if !ok {
				return false
			}
			if len(f.data) == 0 {
				t.Fatal("empty frame")
			}
			if keyed = keyed || f.keyframe; !keyed {
				t.Fatal("a frame before the first keyframe")
			}
			tl.push(f)
			return true
		}
		for len(data) >= 3 {
			n := min(int(data[2]), len(data)-3)
			sequence += int64(int8(data[0]))
			stamp += uint32(data[1]) * 45
			now = now.Add(time.Duration(data[1]) * time.Millisecond)
			live++
			p := media.NewPacket(func(*media.Packet) { live-- })
			p.Header = rtp.Header{Timestamp: stamp, Marker: data[2]&1 == 1}
			p.Payload, p.Sequence, p.Arrival = data[3:3+n], sequence, now
			data = data[3+n:]
			a.push(p)
			for take(a.pop(now)) {
			}
			if len(a.packets) > reorderSize {
				t.Fatalf("%d packets held", len(a.packets))
			}
		}
		for take(a.flush()) {
		}
		tl.release()
		a.close()
		if live != 0 {
			t.Fatalf("%d packets not released", live)
		}
	})
}
