package tunnel

import (
	"bytes"
	"testing"
	"time"
)

func TestFrameComesBackAsItWasWritten(t *testing.T) {
	for name, f := range map[string]Frame{
		"sound":   {Line: 2, Codec: Opus, Key: true, Time: 20 * time.Millisecond, Payload: []byte{1}},
		"picture": {Line: 65535, Codec: VP8, Time: 1795422684208647 * time.Microsecond, Payload: bytes.Repeat([]byte{7}, 3000)},
		"largest": {Codec: H264, Key: true, Payload: make([]byte, MaxPayload)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseFrame(f.AppendTo(nil))
			if err != nil {
				t.Fatal(err)
			}
			if got.Line != f.Line || got.Codec != f.Codec || got.Key != f.Key || got.Time != f.Time || !bytes.Equal(got.Payload, f.Payload) {
				t.Errorf("got %v, want %v", got, f)
			}
		})
	}
}

func TestWhatIsNoFrameIsRefused(t *testing.T) {
	good := Frame{Line: 1, Codec: VP8, Payload: []byte{1}}.AppendTo(nil)
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":           nil,
		"half a header":     good[:10],
		"no payload":        good[:headerSize],
		"another version":   change(0, 2),
		"an unknown codec":  change(1, 9),
		"a time too large":  change(8, 0xFF),
		"a payload too big": append(bytes.Clone(good), make([]byte, MaxPayload)...),
	} {
		t.Run(name, func(t *testing.T) {
			if f, err := ParseFrame(b); err == nil {
				t.Errorf("it was read as %v", f)
			}
		})
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add(Frame{Line: 1, Codec: VP8, Key: true, Time: time.Second, Payload: []byte{1, 2}}.AppendTo(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := ParseFrame(b)
		if err != nil {
			return
		}
		again, err := ParseFrame(frame.AppendTo(nil))
		if err != nil || again.Line != frame.Line || again.Time != frame.Time || !bytes.Equal(again.Payload, frame.Payload) {
			t.Errorf("%v came back as %v, %v", frame, again, err)
		}
	})
}

func FuzzDecodeMessage(f *testing.F) {
	for _, s := range []string{
		`{"type":"open","body":{"session":"s","secret":"x","sources":[{"source":"mic","active":true}],"persons":4,"screens":1}}`,
		`{"type":"lines","body":{"persons":-1}}`, `{"type":"keyframe","body":{"mid":"3"}}`, `{"type":"received","body":{"bytes":7}}`, `{`, `[]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		body, err := decode(b)
		if err != nil {
			return
		}
		if w, ok := body.(*Wanted); ok && w.check() == nil && (w.Persons > maxPersons || len(w.Sources) > maxSources) {
			t.Errorf("%+v passed", w)
		}
	})
}

func TestMoreLinesThanAnybodyNeedsAreRefused(t *testing.T) {
	mic := Source{Source: "mic", Active: true}
	for name, w := range map[string]Wanted{
		"seats below none": {Persons: -1},
		"too many persons": {Persons: maxPersons + 1},
		"too many screens": {Screens: maxScreens + 1},
		"a source twice":   {Sources: []Source{mic, mic}},
		"unknown source":   {Sources: []Source{{Source: "heart"}}},
		"too many sources": {Sources: []Source{mic, {Source: "cam"}, {Source: "screen"}, {Source: "mic2"}}},
	} {
		if w.check() == nil {
			t.Errorf("%s: passed", name)
		}
	}
	if err := (&Wanted{Sources: []Source{mic}, Persons: 4, Screens: 1}).check(); err != nil {
		t.Error(err)
	}
}
