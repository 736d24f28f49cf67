package codec

import (
	"bytes"
	"testing"
	"time"

	"consilium/internal/media"
)

func TestStartIsRecognisedInEveryCodec(t *testing.T) {
	cases := map[string]struct {
		codec   string
		payload []byte
		want    Start
	}{
		"vp8 keyframe, bare descriptor":      {media.VP8, []byte{0x10, 0x50, 0, 0}, Key},
		"vp8 delta":                          {media.VP8, []byte{0x10, 0x51, 0, 0}, Frame},
		"vp8 keyframe, 15-bit id":            {media.VP8, []byte{0x90, 0x80, 0x81, 0x02, 0x00}, Key},
		"vp8 second partition":               {media.VP8, []byte{0x11, 0x00}, Middle},
		"vp8 continuation":                   {media.VP8, []byte{0x00, 0x00}, Middle},
		"vp8 descriptor only":                {media.VP8, []byte{0x10}, Middle},
		"vp9 keyframe":                       {media.VP9, []byte{0x88, 0x01, 0}, Key},
		"vp9 keyframe, long id, layer 0":     {media.VP9, []byte{0xA8, 0x81, 0x01, 0x00, 0}, Key},
		"vp9 upper layer of a keyframe":      {media.VP9, []byte{0xA8, 0x81, 0x01, 0x02, 0}, Middle},
		"vp9 delta":                          {media.VP9, []byte{0xC8, 0x01, 0}, Frame},
		"vp9 continuation":                   {media.VP9, []byte{0x80, 0x01}, Middle},
		"vp9 cut short":                      {media.VP9, []byte{0x88}, Middle},
		"av1 new coded video sequence":       {media.AV1, []byte{0x18, 0x0A, 0x01}, Key},
		"av1 frame":                          {media.AV1, []byte{0x10, 0x30, 0x01}, Frame},
		"av1 frame, length first":            {media.AV1, []byte{0x20, 0x02, 0x30, 0x01}, Frame},
		"av1 continuation":                   {media.AV1, []byte{0x90, 0x30}, Middle},
		"av1 endless length":                 {media.AV1, bytes.Repeat([]byte{0x80}, 20)[1:], Middle},
		"h264 sps":                           {media.H264, []byte{0x67, 0x42}, Key},
		"h264 idr":                           {media.H264, []byte{0x65, 0x88}, Key},
		"h264 slice":                         {media.H264, []byte{0x41, 0x9A}, Frame},
		"h264 stap-a with sps":               {media.H264, []byte{0x78, 0, 2, 0x67, 0x42, 0, 1, 0x68}, Key},
		"h264 stap-a with a lying size":      {media.H264, []byte{0x78, 0xFF, 0xFF, 0x67}, Middle},
		"h264 fu-a start of idr":             {media.H264, []byte{0x7C, 0x85}, Key},
		"h264 fu-a middle of idr":            {media.H264, []byte{0x7C, 0x05}, Middle},
		"opus":                               {media.Opus, []byte{0xFC}, Key},
		"empty payload begins nothing":       {media.Opus, nil, Middle},
		"empty video payload begins nothing": {media.VP8, nil, Middle},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := StartOf(c.codec, c.payload); got != c.want {
				t.Fatalf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestVP8DescriptorSurvivesRewriting(t *testing.T) {
	full := VP8{Start: true, NonReference: true, Partition: 3, HasPictureID: true, LongID: true, PictureID: 0x1234,
		HasTL0: true, TL0: 200, HasTID: true, TID: 2, Sync: true, HasKeyIndex: true, KeyIndex: 17}
	cases := map[string]VP8{
		"everything":     full,
		"nothing":        {Start: true},
		"id only":        {HasPictureID: true, LongID: true, PictureID: 0x7FFF},
		"tl0 only":       {HasTL0: true, TL0: 1},
		"key index only": {HasKeyIndex: true, KeyIndex: 31},
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			b := want.AppendTo(nil)
			want.Size = len(b)
			got, err := ParseVP8(b)
			if err != nil || got != want {
				t.Fatalf("got %+v (%v), want %+v", got, err, want)
			}
			for cut := range b {
				if _, err := ParseVP8(b[:cut]); err == nil {
					t.Fatalf("descriptor cut to %d of %d bytes was accepted", cut, len(b))
				}
			}
		})
	}
}

func TestVP8ShortPictureIDIsWidened(t *testing.T) {
	d, err := ParseVP8([]byte{0x90, 0x80, 0x45, 0x00})
	if err != nil || d.LongID || d.PictureID != 0x45 || d.Size != 3 {
		t.Fatalf("got %+v, %v", d, err)
	}
	if got := d.AppendTo(nil); !bytes.Equal(got, []byte{0x90, 0x80, 0x80, 0x45}) {
		t.Fatalf("rewritten to % x", got)
	}
}

func TestVP8DimensionsComeFromKeyframesOnly(t *testing.T) {
	key := []byte{0x50, 0x01, 0x00, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0xE0, 0x01}
	if w, h, ok := VP8Dimensions(key); !ok || w != 640 || h != 480 {
		t.Fatalf("got %dx%d, %v", w, h, ok)
	}
	for name, b := range map[string][]byte{"delta": append([]byte{0x51}, key[1:]...), "short": key[:9], "no start code": make([]byte, 10)} {
		if _, _, ok := VP8Dimensions(b); ok {
			t.Errorf("%s frame has dimensions", name)
		}
	}
}

func TestOpusDurationFollowsTheTOC(t *testing.T) {
	ms := time.Millisecond
	cases := map[string]struct {
		packet []byte
		want   time.Duration
		ok     bool
	}{
		"celt 20 ms":           {[]byte{31 << 3}, 20 * ms, true},
		"celt 2.5 ms":          {[]byte{16 << 3}, 2500 * time.Microsecond, true},
		"silk 60 ms":           {[]byte{3 << 3}, 60 * ms, true},
		"silk 40 ms":           {[]byte{2 << 3}, 40 * ms, true},
		"hybrid 20 ms":         {[]byte{13 << 3}, 20 * ms, true},
		"two frames":           {[]byte{31<<3 | 1}, 40 * ms, true},
		"two unequal frames":   {[]byte{31<<3 | 2}, 40 * ms, true},
		"six frames":           {[]byte{31<<3 | 3, 6}, 120 * ms, true},
		"seven frames":         {[]byte{31<<3 | 3, 7}, 140 * ms, false},
		"no frames":            {[]byte{31<<3 | 3, 0}, 0, false},
		"frame count cut away": {[]byte{31<<3 | 3}, 0, false},
		"empty":                {nil, 0, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got, ok := OpusDuration(c.packet); got != c.want || ok != c.ok {
				t.Fatalf("got %v %v, want %v %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func FuzzStartOf(f *testing.F) {
	f.Add([]byte{0x90, 0xF0, 0x81, 0x02, 0x03, 0x44, 0x00})
	f.Add([]byte{0x78, 0, 2, 0x67, 0x42, 0, 1, 0x68})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range []string{media.VP8, media.VP9, media.AV1, media.H264, media.Opus} {
			if s := StartOf(name, b); len(b) == 0 && s != Middle {
				t.Fatalf("%s: nothing begins with an empty payload", name)
			}
		}
		VP8Dimensions(b)
		if d, ok := OpusDuration(b); ok && (d <= 0 || d > opusMaxDuration) {
			t.Fatalf("opus packet of %v", d)
		}
		d, err := ParseVP8(b)
		if err != nil {
			return
		}
		if d.Size > len(b) {
			t.Fatalf("descriptor of %d bytes in a payload of %d", d.Size, len(b))
		}
		again, err := ParseVP8(d.AppendTo(nil))
		if err != nil || again.PictureID != d.PictureID || again.TL0 != d.TL0 || again.TID != d.TID || again.KeyIndex != d.KeyIndex {
			t.Fatalf("%+v was rewritten to %+v (%v)", d, again, err)
		}
	})
}
